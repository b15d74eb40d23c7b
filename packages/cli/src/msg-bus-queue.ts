#!/usr/bin/env node
import { runMsgBus } from './msg-bus.ts'
import { start } from './start.ts'

await start((args) => runMsgBus('queue', args))
