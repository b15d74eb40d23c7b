// Made by scripts/embed.mjs from the .lua files; do not edit.
/** What scripts share. */
export const helpers = {
  "clock": "local clock = redis.call('TIME')",
  "now": "local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)",
  "atOnce": "local atOnce = 1000",
  "writeAll": "local function writeAll(command, key, list)\nfor i = 1, #list, atOnce do redis.call(command, key, unpack(list, i, math.min(i + atOnce - 1, #list))) end\nend",
  "readAll": "local function readAll(key, fields)\nlocal values = {}\nfor i = 1, #fields, atOnce do\nlocal some = redis.call('HMGET', key, unpack(fields, i, math.min(i + atOnce - 1, #fields)))\nfor at, value in ipairs(some) do values[i + at - 1] = value end\nend\nreturn values\nend",
  "addPair": "local function addPair(list, first, second)\nlist[#list + 1] = first\nlist[#list + 1] = second\nend",
  "digits": "local digits = '0123456789abcdefghijklmnopqrstuvwxyz'",
  "base36": "local function base36(number, width)\nlocal text = ''\nfor _ = 1, width do\nlocal digit = number % 36\ntext = string.sub(digits, digit + 1, digit + 1) .. text\nnumber = (number - digit) / 36\nend\nreturn text\nend",
  "timeOf": "local function timeOf(id)\nreturn tonumber(string.sub(id, 1, 9), 36)\nend",
  "scan": "local function scan(key, cursor, count)\nif cursor == '' then return {}, '' end\nlocal found = redis.call('HSCAN', key, cursor, 'COUNT', count)\nreturn found[2], found[1] == '0' and '' or found[1]\nend",
  "missing": "local function missing(destination)\nreturn redis.error_reply('MISSING ' .. destination.meta)\nend",
  "firstWithId": "local function firstWithId(q, o)\nlocal until_ = o.u and tonumber(redis.call('ZSCORE', q.windows, o.u[1]))\nreturn until_ and now < until_ and redis.call('HGET', q.dedup, o.u[1])\nend",
  "takeId": "local function takeId(q, o, id)\nif not o.u then return end\nredis.call('HSET', q.dedup, o.u[1], id)\nredis.call('ZADD', q.windows, now + o.u[2], o.u[1])\nend",
  "forgetDedup": "local function forgetDedup(q, most)\nlocal over = redis.call('ZRANGEBYSCORE', q.windows, '-inf', now, 'LIMIT', 0, most)\nfor _, id in ipairs(over) do\nredis.call('ZREM', q.windows, id)\nredis.call('HDEL', q.dedup, id)\nend\nreturn #over == most\nend",
  "changeRoutes": "local function changeRoutes(routes, version)\nredis.call('HSET', routes, 'version', version)\nif redis.call('HLEN', routes) == 1 then redis.call('DEL', routes) end\nend",
  "queueKeys": "local queueKeys = {\n'meta', 'order', 'ready', 'delayed', 'leased', 'body', 'state', 'lines', 'waiting', 'tasks', 'dedup', 'windows', 'targets',\n'archive', 'shelf', 'archived', 'inbox', 'outbox',\n}",
  "queueAt": "local function queueAt(first)\nlocal q = { posted = {}, bodies = {}, ids = {}, readies = {} }\nfor i, name in ipairs(queueKeys) do q[name] = KEYS[first + i - 1] end\nq.tag = string.sub(q.meta, 1, -6)\nreturn q\nend",
  "isThere": "local function isThere(q)\nreturn redis.call('EXISTS', q.meta) == 1\nend",
  "nextId": "local function nextId(q)\nif not q.time then\nlocal newest = redis.call('HMGET', q.meta, 'time', 'number', 'sent')\nq.time = tonumber(newest[1]) or 0\nq.number = tonumber(newest[2]) or 0\nq.sent = tonumber(newest[3]) or 0\nend\nif now > q.time then\nq.time, q.number = now, 0\nelseif q.number >= 1679615 then\nq.time, q.number = q.time + 1, 0\nelse\nq.number = q.number + 1\nend\nq.sent = q.sent + 1\nif q.prefixOf ~= q.time then\nq.prefixOf, q.prefix = q.time, base36(q.time, 9)\nend\nreturn q.prefix .. base36(q.number, 4)\nend",
  "unpacked": "local function unpacked(state)\nif state then return cmsgpack.unpack(state) end\nreturn {}\nend",
  "stateOf": "local function stateOf(q, id)\nreturn unpacked(redis.call('HGET', q.state, id))\nend",
  "save": "local function save(q, id, m)\nredis.call('HSET', q.state, id, cmsgpack.pack(m))\nend",
  "noteWake": "local function noteWake(q, visible)\nif visible <= now then\nq.wakeNow = true\nelseif not q.wakeAt or visible < q.wakeAt then\nq.wakeAt = visible\nend\nend",
  "offer": "local function offer(q, id, m, visible)\nif visible > now then\nredis.call('ZADD', q.delayed, visible, id)\nelse\nredis.call('ZADD', q.ready, -(m.p or 0), id)\nend\nnoteWake(q, visible)\nend",
  "lineOf": "local function lineOf(key)\nreturn #key .. ':' .. key\nend",
  "firstIn": "local function firstIn(q, line)\nreturn redis.call('ZRANGEBYLEX', q.lines, '[' .. line, '[' .. line .. '\\255', 'LIMIT', 0, 1)[1]\nend",
  "store": "local function store(q, body, o)\nlocal id = nextId(q)\nlocal visible = math.max(now, o.n or (now + (o.d or 0)))\nlocal m = { p = o.p, k = o.k, t = o.t, m = o.m, c = o.c, w = o.w, x = o.x, h = o.h }\nif o.s and o.s ~= q.time then m.s = o.s end\nif visible > now then m.v = visible end\naddPair(q.bodies, id, body)\naddPair(q.ids, 0, id)\nif next(m) then save(q, id, m) end\nif o.t then redis.call('HSET', q.targets, o.t, id) end\nif o.w then redis.call('HSET', q.tasks, o.w, id) end\nlocal isFirst = true\nif o.k then\nlocal line = lineOf(o.k)\nisFirst = not firstIn(q, line)\nredis.call('ZADD', q.lines, 0, line .. id)\nend\nif not isFirst then\nredis.call('ZADD', q.waiting, visible, id)\nelseif visible > now then\nredis.call('ZADD', q.delayed, visible, id)\nelse\naddPair(q.readies, -(m.p or 0), id)\nend\nnoteWake(q, visible)\nreturn id\nend",
  "withdraw": "local function withdraw(q, id)\nfor _, set in ipairs({ q.leased, q.ready, q.delayed }) do\nif redis.call('ZREM', set, id) == 1 then return end\nend\nend",
  "remove": "local function remove(q, id, m)\nredis.call('HDEL', q.body, id)\nredis.call('HDEL', q.state, id)\nredis.call('ZREM', q.order, id)\nwithdraw(q, id)\nif m.t and redis.call('HGET', q.targets, m.t) == id then redis.call('HDEL', q.targets, m.t) end\nif m.w then redis.call('HDEL', q.tasks, m.w) end\nif not m.k then return end\nlocal line = lineOf(m.k)\nredis.call('ZREM', q.lines, line .. id)\nif redis.call('ZREM', q.waiting, id) == 1 then return end\nlocal following = firstIn(q, line)\nif not following then return end\nlocal nextOne = string.sub(following, #line + 1)\nlocal visible = tonumber(redis.call('ZSCORE', q.waiting, nextOne))\nredis.call('ZREM', q.waiting, nextOne)\noffer(q, nextOne, stateOf(q, nextOne), visible)\nend",
  "ripenOne": "local function ripenOne(q, set, id)\nredis.call('ZREM', set, id)\nredis.call('ZADD', q.ready, -(stateOf(q, id).p or 0), id)\nend",
  "ripen": "local function ripen(q, most)\nfor _, set in ipairs({ q.delayed, q.leased }) do\nfor _, id in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, most)) do ripenOne(q, set, id) end\nend\nend",
  "ripenThese": "local function ripenThese(q, ids)\nfor _, set in ipairs({ q.delayed, q.leased }) do\nfor _, id in ipairs(ids) do\nlocal due = redis.call('ZSCORE', set, id)\nif due and tonumber(due) <= now then ripenOne(q, set, id) end\nend\nend\nend",
  "noteRead": "local function noteRead(m)\nm.n = (m.n or 0) + 1\nm.f = m.f or now\nm.l = now\nend",
  "finish": "local function finish(q)\nwriteAll('HSET', q.body, q.bodies)\nwriteAll('ZADD', q.order, q.ids)\nwriteAll('ZADD', q.ready, q.readies)\nif q.time then redis.call('HSET', q.meta, 'time', q.time, 'number', q.number, 'sent', q.sent) end\nif q.wakeNow then redis.call('SPUBLISH', q.tag .. ':wake', '0') end\nif q.wakeAt then redis.call('SPUBLISH', q.tag .. ':wake', tostring(q.wakeAt - now)) end\nend",
  "row": "local function row(id, body, m)\nlocal time = timeOf(id)\nlocal sent = m.s or time\nlocal changes = {}\nfor field, text in pairs(m.m or {}) do\ntable.insert(changes, field)\ntable.insert(changes, text)\nend\nreturn {\nid, body, sent, m.v or time, m.n or 0, m.f or false, m.l or false, m.a or false, m.p or 0, m.k or false,\nm.r or false, changes,\n}\nend",
  "firstOf": "local function firstOf(q, o)\nreturn firstWithId(q, o) or (o.t and redis.call('HGET', q.targets, o.t))\nend",
  "storeOnce": "local function storeOnce(q, body, o)\nlocal first = firstOf(q, o)\nif first then\npostVoid(q, o)\nreturn '=' .. first\nend\nlocal id = store(q, body, o)\ntakeId(q, o, id)\nreturn '+' .. id\nend",
  "pick": "local function pick(q, limit, only)\nif only == '' then return redis.call('ZRANGE', q.ready, 0, limit - 1) end\nlocal found, seen = {}, {}\nfor _, id in ipairs(cjson.decode(only)) do\nlocal score = not seen[id] and redis.call('ZSCORE', q.ready, id)\nif score then table.insert(found, { tonumber(score), id }) end\nseen[id] = true\nend\ntable.sort(found, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)\nlocal ids = {}\nfor i = 1, math.min(limit, #found) do ids[i] = found[i][2] end\nreturn ids\nend",
  "topicKeys": "local topicKeys = { 'meta', 'log', 'subscriptions', 'dedup', 'windows', 'inbox', 'outbox' }",
  "topicAt": "local function topicAt(first)\nlocal t = { posted = {} }\nfor i, name in ipairs(topicKeys) do t[name] = KEYS[first + i - 1] end\nt.tag = string.sub(t.meta, 1, -6)\nreturn t\nend",
  "look": "local function look(t)\nlocal found = redis.call('HMGET', t.meta, 'incarnation', 'last', 'time', 'bytes', 'base', 'gone')\nt.incarnation = found[1]\nt.last, t.time, t.bytes = tonumber(found[2]) or 0, tonumber(found[3]) or 0, tonumber(found[4]) or 0\nt.base, t.gone = tonumber(found[5]) or 0, tonumber(found[6]) or 0\nreturn t.incarnation\nend",
  "idOf": "local function idOf(offset)\nreturn offset .. '-0'\nend",
  "append": "local function append(t, meta, headers, data)\nt.last = t.last + 1\nt.time = math.max(now, t.time)\nt.bytes = t.bytes + #meta + #headers + #data\nredis.call('XADD', t.log, idOf(t.last), 'data', data, 'meta', meta, 'headers', headers, 'at', t.time, 'bytes', t.bytes)\nt.changed = true\nreturn t.last\nend",
  "appendOnce": "local function appendOnce(t, meta, headers, data, o)\nlocal first = firstWithId(t, o)\nif first then return '=' .. first end\nlocal offset = append(t, meta, headers, data)\ntakeId(t, o, offset)\nreturn '+' .. offset\nend",
  "wakeReaders": "local function wakeReaders(t)\nredis.call('SPUBLISH', t.tag .. ':wake', '0')\nend",
  "finishTopic": "local function finishTopic(t)\nif not t.changed then return end\nredis.call('HSET', t.meta, 'last', t.last, 'time', t.time, 'bytes', t.bytes)\nwakeReaders(t)\nend",
  "fieldAt": "local function fieldAt(t, offset, field)\nlocal entry = redis.call('XRANGE', t.log, idOf(offset), idOf(offset))[1][2]\nfor i = 1, #entry, 2 do\nif entry[i] == field then return tonumber(entry[i + 1]) end\nend\nend",
  "firstWith": "local function firstWith(t, field, least)\nlocal low, high = t.base + 1, t.last\nwhile low <= high do\nlocal middle = math.floor((low + high) / 2)\nif fieldAt(t, middle, field) >= least then\nhigh = middle - 1\nelse\nlow = middle + 1\nend\nend\nreturn low\nend",
  "cursorAt": "local function cursorAt(t, position, from)\nlocal wanted\nif position == 'earliest' then\nwanted = t.base\nelseif position == 'latest' then\nwanted = t.last\nelseif position.offset then\nwanted = position.offset - 1\nelseif position.back then\nwanted = from - position.back\nelse\nwanted = firstWith(t, 'at', position.time) - 1\nend\nreturn math.min(math.max(wanted, t.base), t.last)\nend",
  "noSubscription": "local function noSubscription(t, name)\nreturn redis.error_reply('NOSUBSCRIPTION ' .. t.meta .. ' ' .. name)\nend",
  "subscriptionOf": "local function subscriptionOf(t, name)\nlocal packed = redis.call('HGET', t.subscriptions, name)\nreturn packed and cmsgpack.unpack(packed)\nend",
  "saveSubscription": "local function saveSubscription(t, name, s)\nredis.call('HSET', t.subscriptions, name, cmsgpack.pack(s))\nend",
  "showCursor": "local function showCursor(t, name, s)\nlocal id = idOf(s.c)\nif redis.pcall('XGROUP', 'SETID', t.log, name, id, 'ENTRIESREAD', s.c).err then\nredis.pcall('XGROUP', 'CREATE', t.log, name, id, 'MKSTREAM', 'ENTRIESREAD', s.c)\nend\nend",
  "moveTo": "local function moveTo(t, name, s, cursor)\ns.c, s.m = cursor, now\nsaveSubscription(t, name, s)\nshowCursor(t, name, s)\nend",
  "post": "local function post(source, entry)\nlocal id = base36(now, 9) .. '-' .. ARGV[1] .. '-' .. (#source.posted / 2)\nlocal text = cjson.encode(entry)\nredis.call('HSET', source.outbox, id, text)\naddPair(source.posted, id, text)\nreturn id\nend",
  "postEnd": "local function postEnd(q, m, ending)\nif m.w then post(q, { kind = 'event', correlation = m.c, event = { ending, m.w } }) end\nend",
  "postVoid": "local function postVoid(source, o)\nif o.w then post(source, { kind = 'event', correlation = o.c, event = { 'void', o.w } }) end\nend",
  "postRemoved": "local function postRemoved(q, removed)\nif redis.call('EXISTS', q.tasks) == 0 then return end\nredis.call('RENAME', q.order, KEYS[#queueKeys + 1])\nredis.call('RENAME', q.state, KEYS[#queueKeys + 2])\npost(q, { kind = 'gone', grave = removed })\nend",
  "fulfil": "local function fulfil(destination, intent)\nreturn intent == '' or redis.call('HDEL', destination.outbox, intent) == 1\nend",
  "noIntent": "local function noIntent()\nreturn redis.error_reply('NOINTENT it took too long')\nend",
  "leftEntries": "local function leftEntries(source, entryMs, intentMs, cursor)\nlocal left = {}\nlocal entries, following = scan(source.outbox, cursor, 100)\nfor i = 1, #entries, 2 do\nlocal id, text = entries[i], entries[i + 1]\nlocal isIntent = string.match(id, '-intent$')\nif now - timeOf(id) >= tonumber(isIntent and intentMs or entryMs) then\nif isIntent then\nredis.call('HDEL', source.outbox, id)\nid = id .. '-over'\nredis.call('HSET', source.outbox, id, text)\nend\naddPair(left, id, text)\nend\nend\nreturn left, following\nend",
  "oldDeliveries": "local function oldDeliveries(destination, keptMs, cursor)\nlocal old = {}\nlocal inbox, following = scan(destination.inbox, cursor, 1000)\nfor i = 1, #inbox, 2 do\nif tonumber(string.match(inbox[i + 1], '^%d+')) < now - tonumber(keptMs) then table.insert(old, inbox[i]) end\nend\nreturn old, following\nend",
  "forgottenUpTo": "local function forgottenUpTo(meta)\nlocal found = redis.call('HMGET', meta, 'forgotten', 'created')\nreturn tonumber(found[1] or found[2])\nend",
  "doubtful": "local function doubtful(destination, deliveries, checked)\nlocal mark\nfor _, delivery in ipairs(deliveries) do\nif redis.call('HEXISTS', destination.inbox, delivery) == 0 then\nmark = mark or forgottenUpTo(destination.meta)\nif mark ~= tonumber(checked) and timeOf(delivery) <= mark then return mark end\nend\nend\nend",
  "onceDelivered": "local function onceDelivered(destination, delivery, work, ...)\nlocal before = redis.call('HGET', destination.inbox, delivery)\nif before then return string.match(before, ' (.*)') end\nlocal result = work(destination, ...)\nredis.call('HSET', destination.inbox, delivery, now .. ' ' .. result)\nreturn result\nend"
} as const
/** Each with the names of its helpers, in the order in which they have to stand before it. */
export const scripts = {
  "bind": {
    "flags": "#!lua",
    "helpers": [
      "clock",
      "now",
      "changeRoutes"
    ],
    "code": "local route = ARGV[1] .. ' ' .. ARGV[2]\nlocal before = redis.call('HGET', KEYS[1], route)\nif before and string.match(before, ' (.*)') == ARGV[3] then\nreturn string.match(before, '^%d+%-(%S+)') == ARGV[4] and 1 or 0\nend\nredis.call('HSET', KEYS[1], route, now .. '-' .. ARGV[4] .. ' ' .. ARGV[3])\nchangeRoutes(KEYS[1], ARGV[4])\nreturn 1"
  },
  "cancel": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "unpacked",
      "stateOf",
      "clock",
      "now",
      "withdraw",
      "lineOf",
      "firstIn",
      "noteWake",
      "offer",
      "remove",
      "digits",
      "base36",
      "addPair",
      "post",
      "postEnd",
      "atOnce",
      "writeAll",
      "finish"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nlocal removed = {}\nfor i, id in ipairs(cjson.decode(ARGV[2])) do\nlocal m = stateOf(q, id)\nlocal isLeased = m.r and m.v > now\nremoved[i] = 0\nif not isLeased and redis.call('ZSCORE', q.order, id) then\nremove(q, id, m)\npostEnd(q, m, 'cancelled')\nremoved[i] = 1\nend\nend\nfinish(q)\nreturn { removed, q.posted }"
  },
  "claim": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "clock",
      "now",
      "atOnce",
      "readAll",
      "unpacked",
      "timeOf",
      "row",
      "stateOf",
      "ripenOne",
      "ripen",
      "ripenThese",
      "pick",
      "noteRead",
      "digits",
      "base36",
      "addPair",
      "writeAll"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nlocal limit = tonumber(ARGV[2])\nlocal visible = now + tonumber(ARGV[3])\nlocal function leasedBefore()\nlocal found = {}\nlocal ids = redis.call('ZRANGE', q.leased, visible, visible - 60000, 'BYSCORE', 'REV', 'LIMIT', 0, 10000)\nfor i, state in ipairs(readAll(q.state, ids)) do\nlocal m = unpacked(state)\nif m.r and m.v > now and string.sub(m.r, 1, #ARGV[1] + 1) == ARGV[1] .. '-' then\ntable.insert(found, { m.r, row(ids[i], redis.call('HGET', q.body, ids[i]), m) })\nend\nend\ntable.sort(found, function(a, b) return a[1] < b[1] end)\nlocal messages = {}\nfor i, each in ipairs(found) do messages[i] = each[2] end\nreturn messages\nend\nlocal function lease()\nripen(q, math.max(1000, limit))\nif ARGV[4] ~= '' then ripenThese(q, cjson.decode(ARGV[4])) end\nlocal ids = pick(q, limit, ARGV[4])\nlocal states, bodies = readAll(q.state, ids), readAll(q.body, ids)\nlocal messages, saved, leased = {}, {}, {}\nfor i, id in ipairs(ids) do\nlocal m = unpacked(states[i])\nnoteRead(m)\nm.v = visible\nm.r = ARGV[1] .. '-' .. base36(i, 3)\naddPair(saved, id, cmsgpack.pack(m))\naddPair(leased, visible, id)\nmessages[i] = row(id, bodies[i], m)\nend\nwriteAll('HSET', q.state, saved)\nwriteAll('ZREM', q.ready, ids)\nwriteAll('ZADD', q.leased, leased)\nreturn messages\nend\nlocal messages = ARGV[5] ~= '' and leasedBefore() or {}\nif #messages == 0 then messages = lease() end\nlocal dueMs\nfor _, set in ipairs({ q.delayed, q.leased }) do\nlocal soonest = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]\nif soonest then dueMs = math.min(dueMs or math.huge, math.max(1, tonumber(soonest) - now)) end\nend\nreturn { messages, dueMs or false }"
  },
  "correlate": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "clock",
      "now"
    ],
    "code": "local key = KEYS[1]\nlocal keep = tonumber(ARGV[2])\nlocal left = tonumber(redis.call('HGET', key, 'left') or '0')\nlocal function count(state, queue, by)\nredis.call('HINCRBY', key, 'count ' .. state .. ' ' .. queue, by)\nend\nlocal function set(task, state, queue, holder, moves)\nredis.call('HSET', key, task, state .. ' ' .. queue .. ' ' .. holder .. ' ' .. moves)\nend\nlocal on = {}\nfunction on.note(task, state, _, _, where)\nif state then return end\nset(task, 'pending', where, where, 0)\nleft = left + 1\nend\nlocal function over(ending)\non[ending] = function(task, state, queue)\nif state ~= 'pending' and state ~= 'dead' then return end\nredis.call('HDEL', key, task)\nif state == 'dead' then return end\ncount(ending, queue, 1)\nleft = left - 1\nend\nend\nover('done')\nover('cancelled')\nover('dead')\nfunction on.moved(task, state, queue, told, to, dead, moves)\nif state ~= 'pending' and state ~= 'dead' then return end\nif moves <= told then return end\nlocal counted = dead == 1 and queue or to\nif state == 'dead' then count('dead', queue, -1) end\nif dead == 1 then count('dead', counted, 1) end\nif state == 'dead' and dead ~= 1 then left = left + 1 end\nif state ~= 'dead' and dead == 1 then left = left - 1 end\nset(task, dead == 1 and 'dead' or 'pending', counted, to, moves)\nend\nfunction on.void(task, state)\nif state == 'pending' then left = left - 1 end\nredis.call('HSET', key, task, 'gone')\nend\nlocal events = cjson.decode(ARGV[3])\nfor _, event in ipairs(events) do\nlocal task = 'task ' .. event[2]\nlocal state, queue, moves = string.match(redis.call('HGET', key, task) or '', '^(%S+) (%S+) %S+ (%d+)$')\nif not state and redis.call('HEXISTS', key, task) == 1 then state = 'gone' end\nif event[1] == 'note' then\nredis.call('HSETNX', key, 'started', now)\nif ARGV[1] ~= '' then redis.call('HSETNX', key, 'queue', ARGV[1]) end\nend\non[event[1]](task, state, queue, tonumber(moves), event[3], event[4], event[5])\nend\nif left > 0 then\nredis.call('HSET', key, 'left', left)\nredis.call('PERSIST', key)\nreturn false\nend\nlocal totals = { done = 0, dead = 0, cancelled = 0 }\nlocal hasTasks = false\nlocal fields = redis.call('HGETALL', key)\nfor i = 1, #fields, 2 do\nlocal state = string.match(fields[i], '^count (%S+)')\nif state then\ntotals[state] = totals[state] + tonumber(fields[i + 1])\nhasTasks = true\nend\nend\nredis.call('HDEL', key, 'left')\nredis.call('PEXPIRE', key, keep)\nif not hasTasks then\nredis.call('HDEL', key, 'started', 'queue')\nreturn false\nend\nif redis.call('HSETNX', key, 'completed', now) == 1 then\nredis.call('HSET', key, 'counts', totals.done .. ' ' .. totals.dead .. ' ' .. totals.cancelled)\nend\nlocal found = redis.call('HMGET', key, 'queue', 'started', 'completed', 'counts', 'told')\nif not found[1] or found[5] then return false end\nreturn { found[1], found[2], found[3], found[4] }"
  },
  "create": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "clock",
      "now"
    ],
    "code": "if redis.call('EXISTS', KEYS[1]) == 0 then\nredis.call('HSET', KEYS[1], 'created', now, 'incarnation', ARGV[1], 'sent', 0)\nend\nlocal found = redis.call('HMGET', KEYS[1], 'incarnation', 'created')\nreturn { found[1] == ARGV[1] and 1 or 0, found[2] }"
  },
  "drop": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "queueKeys",
      "queueAt",
      "digits",
      "base36",
      "clock",
      "now",
      "addPair",
      "post",
      "postRemoved"
    ],
    "code": "local q = queueAt(1)\nlocal incarnation = redis.call('HGET', q.meta, 'incarnation')\nif not incarnation then return false end\npostRemoved(q, ARGV[1])\nfor _, name in ipairs(queueKeys) do\nif name ~= 'outbox' then redis.call('UNLINK', q[name]) end\nend\nreturn { incarnation, q.posted }"
  },
  "extend": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "clock",
      "now",
      "unpacked",
      "stateOf",
      "digits",
      "base36",
      "save"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nlocal visible = now + tonumber(ARGV[2])\nlocal receipts = {}\nfor i, lease in ipairs(cjson.decode(ARGV[3])) do\nlocal id = lease[1]\nlocal m = stateOf(q, id)\nlocal fresh = ARGV[1] .. '-' .. base36(i, 3)\nlocal isHeld = m.r and (m.r == lease[2] or m.r == fresh) and m.v > now\nif isHeld then\nm.v, m.r = visible, fresh\nsave(q, id, m)\nredis.call('ZADD', q.leased, visible, id)\nend\nreceipts[i] = isHeld and fresh or false\nend\nreturn receipts"
  },
  "forget": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "changeRoutes"
    ],
    "code": "local removed = 0\nlocal routes = redis.call('HGETALL', KEYS[1])\nfor i = 1, #routes, 2 do\nlocal source, target = string.match(routes[i], '^(%S+) (%S+)$')\nlocal targets, sources = string.match(routes[i + 1], '^%S+ (%S+) ?(%S*)$')\nlocal isMeant = (target == ARGV[1] and targets == ARGV[2]) or (source == ARGV[1] and sources == ARGV[2])\nif isMeant then removed = removed + redis.call('HDEL', KEYS[1], routes[i]) end\nend\nif removed > 0 then changeRoutes(KEYS[1], ARGV[3]) end\nreturn removed"
  },
  "maintain": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "queueKeys",
      "queueAt",
      "clock",
      "now",
      "forgetDedup",
      "scan",
      "timeOf",
      "addPair",
      "leftEntries",
      "oldDeliveries",
      "isThere"
    ],
    "code": "local q = queueAt(1)\nlocal more = forgetDedup(q, 1000)\nlocal left, followingLeft = leftEntries(q, ARGV[1], ARGV[2], ARGV[4])\nlocal old, followingOld = oldDeliveries(q, ARGV[3], ARGV[5])\nreturn { isThere(q) and 1 or 0, more and 1 or 0, left, old, followingLeft, followingOld }"
  },
  "peek": {
    "flags": "#!lua flags=no-writes",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "clock",
      "now",
      "unpacked",
      "stateOf",
      "timeOf",
      "row"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nlocal request = cjson.decode(ARGV[1])\nlocal isArchive = request.place == 'archived'\nlocal source = isArchive and q.archive or q.order\nlocal function candidates()\nif not request.ids then\nlocal after = request.after == '' and '-' or '(' .. request.after\nreturn redis.call('ZRANGEBYLEX', source, after, '+', 'LIMIT', 0, request.budget)\nend\nlocal found, seen = {}, {}\nfor _, id in ipairs(request.ids) do\nif not seen[id] and id > request.after and redis.call('ZSCORE', source, id) then table.insert(found, id) end\nseen[id] = true\nend\ntable.sort(found)\nreturn found\nend\nlocal function placeOf(id, m)\nlocal isToCome = (m.v or 0) > now\nif not isToCome then return 'ready' end\nreturn m.r and 'leased' or 'delayed'\nend\nlocal function contains(body, m, text)\nlocal firstLine = string.sub(body, 1, (string.find(body, '\\n', 1, true)))\nif string.find(firstLine, text, 1, true) then return true end\nfor _, change in pairs(m.m or {}) do\nif string.find(change, text, 1, true) then return true end\nend\nreturn false\nend\nlocal function fits(id, body, m)\nif request.place ~= '' and not isArchive and placeOf(id, m) ~= request.place then return false end\nfor _, text in ipairs(request.texts) do\nif not contains(body, m, text) then return false end\nend\nreturn true\nend\nlocal messages, last = {}, false\nlocal ids = candidates()\nfor i, id in ipairs(ids) do\nlocal body, m\nif isArchive then\nm, body = unpack(cmsgpack.unpack(redis.call('HGET', q.archived, id)))\nelse\nm, body = stateOf(q, id), redis.call('HGET', q.body, id)\nend\nif fits(id, body, m) then\nm.r = nil\ntable.insert(messages, row(id, body, m))\nend\nif #messages == request.limit or (i == #ids and not request.ids and #ids == request.budget) then\nlast = id\nbreak\nend\nend\nreturn { messages, last }"
  },
  "pop": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "clock",
      "now",
      "unpacked",
      "stateOf",
      "ripenOne",
      "ripen",
      "pick",
      "noteRead",
      "timeOf",
      "row",
      "withdraw",
      "lineOf",
      "firstIn",
      "noteWake",
      "offer",
      "remove",
      "digits",
      "base36",
      "addPair",
      "post",
      "postEnd",
      "atOnce",
      "writeAll",
      "finish"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nlocal limit = tonumber(ARGV[2])\nripen(q, math.max(1000, limit))\nlocal messages = {}\nfor _, id in ipairs(pick(q, limit, '')) do\nlocal m = stateOf(q, id)\nnoteRead(m)\nm.r = nil\ntable.insert(messages, row(id, redis.call('HGET', q.body, id), m))\nremove(q, id, m)\npostEnd(q, m, 'done')\nend\nfinish(q)\nreturn { messages, q.posted }"
  },
  "prune": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "clock",
      "now"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nlocal most = tonumber(ARGV[3])\nlocal count = 0\nif ARGV[2] ~= '' then count = redis.call('ZCARD', q.shelf) - tonumber(ARGV[2]) end\nif ARGV[1] ~= '' then\ncount = math.max(count, redis.call('ZCOUNT', q.shelf, '-inf', '(' .. string.format('%.0f', now - tonumber(ARGV[1]))))\nend\ncount = math.min(count, most)\nif count <= 0 then return 0 end\nfor _, id in ipairs(redis.call('ZRANGE', q.shelf, 0, count - 1)) do\nredis.call('ZREM', q.shelf, id)\nredis.call('ZREM', q.archive, id)\nredis.call('HDEL', q.archived, id)\nend\nreturn count"
  },
  "purge": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "digits",
      "base36",
      "clock",
      "now",
      "addPair",
      "post",
      "postRemoved"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nlocal count = redis.call('ZCARD', q.order)\npostRemoved(q, ARGV[1])\nredis.call('UNLINK', q.order, q.ready, q.delayed, q.leased, q.body, q.state, q.lines, q.waiting, q.tasks, q.targets)\nreturn { count, q.posted }"
  },
  "running": {
    "flags": "#!lua flags=no-writes",
    "helpers": [
      "queueKeys",
      "queueAt",
      "unpacked",
      "stateOf",
      "clock",
      "now"
    ],
    "code": "local q = queueAt(1)\nlocal running = {}\nfor i, task in ipairs(cjson.decode(ARGV[1])) do\nlocal id = redis.call('HGET', q.tasks, task)\nlocal m = id and stateOf(q, id) or {}\nrunning[i] = m.r and m.v > now and 1 or 0\nend\nreturn running"
  },
  "send": {
    "flags": "#!lua",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "fulfil",
      "noIntent",
      "clock",
      "now",
      "firstWithId",
      "firstOf",
      "digits",
      "base36",
      "addPair",
      "post",
      "postVoid",
      "forgetDedup",
      "nextId",
      "save",
      "lineOf",
      "firstIn",
      "noteWake",
      "store",
      "takeId",
      "storeOnce",
      "atOnce",
      "writeAll",
      "finish"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nif not fulfil(q, ARGV[2]) then return noIntent() end\nlocal options = {}\nlocal hasDedup = false\nfor i = 5, #ARGV, 2 do\nlocal o = ARGV[i] == '' and {} or cjson.decode(ARGV[i])\ntable.insert(options, o)\nhasDedup = hasDedup or o.u\nend\nlocal function countFresh()\nlocal count, ids, targets = 0, {}, {}\nfor _, o in ipairs(options) do\nlocal isRepeated = (o.u and ids[o.u[1]]) or (o.t and targets[o.t])\nif not isRepeated and not firstOf(q, o) then\ncount = count + 1\nif o.u then ids[o.u[1]] = true end\nif o.t then targets[o.t] = true end\nend\nend\nreturn count\nend\nif ARGV[3] ~= '' then\nlocal length, most = redis.call('ZCARD', q.order), tonumber(ARGV[3])\nlocal count = length + #options > most and countFresh() or 0\nif count > 0 and length + count > most then\nfor _, o in ipairs(options) do postVoid(q, o) end\nreturn { {}, q.posted, length, count }\nend\nend\nif hasDedup then forgetDedup(q, 10) end\nlocal results = {}\nfor i, o in ipairs(options) do table.insert(results, storeOnce(q, ARGV[2 + 2 * i], o)) end\nfinish(q)\nreturn { results, q.posted }"
  },
  "set-field": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [],
    "code": "return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])"
  },
  "settle": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "withdraw",
      "lineOf",
      "firstIn",
      "clock",
      "now",
      "noteWake",
      "offer",
      "unpacked",
      "stateOf",
      "remove",
      "digits",
      "base36",
      "addPair",
      "post",
      "postEnd",
      "save",
      "timeOf",
      "nextId",
      "store",
      "atOnce",
      "writeAll",
      "finish"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nlocal others = { [1] = q }\nlocal function targetAt(first)\nif first == 0 then return nil end\nothers[first] = others[first] or queueAt(first)\nreturn isThere(others[first]) and others[first] or nil\nend\nlocal function change(m, fields)\nif not next(fields) then return end\nm.m = m.m or {}\nfor field, text in pairs(fields) do m.m[field] = text end\nend\nlocal function isDead(m)\nlocal changed = m.m and m.m.dead_lettered_at\nif changed then return changed ~= 'null' end\nreturn m.x == 1\nend\nlocal endings = {}\nfunction endings.delete(s, m)\nremove(q, s.i, m)\npostEnd(q, m, 'done')\nreturn '+'\nend\nfunction endings.archive(s, m)\nchange(m, s.m)\nlocal body = redis.call('HGET', q.body, s.i)\nremove(q, s.i, m)\npostEnd(q, m, isDead(m) and 'dead' or 'done')\nm.r, m.a = nil, now\nredis.call('HSET', q.archived, s.i, cmsgpack.pack({ m, body }))\nredis.call('ZADD', q.archive, 0, s.i)\nredis.call('ZADD', q.shelf, now, s.i)\nreturn '+'\nend\nfunction endings.release(s, m)\nchange(m, s.m)\nif s.u == 1 then m.n = m.n - 1 end\nm.r, m.v = nil, now + s.d\nsave(q, s.i, m)\nwithdraw(q, s.i)\noffer(q, s.i, m, m.v)\nreturn '+'\nend\nfunction endings.move(s, m)\nchange(m, s.m)\nlocal body = redis.call('HGET', q.body, s.i)\nremove(q, s.i, m)\nlocal o = { s = m.s or timeOf(s.i), d = s.d, p = m.p, k = m.k, m = m.m, c = m.c, w = m.w, x = m.x }\nif m.w then o.h = (m.h or 0) + 1 end\nlocal target = not m.w and targetAt(s.q)\nif target then return '+' .. store(target, body, o) end\nlocal entry = { kind = 'move', to = s.to, body = body, options = o }\nif m.w then entry.event = { 'moved', m.w, s.to, isDead(m) and 1 or 0, o.h } end\nreturn '>' .. post(q, entry)\nend\nlocal results = {}\nfor i, s in ipairs(cjson.decode(ARGV[2])) do\nlocal m = stateOf(q, s.i)\nresults[i] = m.r and m.r == s.r and endings[s.e](s, m) or ''\nend\nfor _, each in pairs(others) do finish(each) end\nreturn { results, q.posted }"
  },
  "stats": {
    "flags": "#!lua flags=no-writes",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "clock",
      "now",
      "unpacked",
      "stateOf",
      "timeOf"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nlocal function dueIn(set)\nreturn redis.call('ZCOUNT', set, '-inf', now)\nend\nlocal function toComeIn(set)\nreturn redis.call('ZCOUNT', set, '(' .. now, '+inf')\nend\nlocal ready = redis.call('ZCARD', q.ready) + dueIn(q.delayed) + dueIn(q.leased) + dueIn(q.waiting)\nlocal delayed = toComeIn(q.delayed) + toComeIn(q.waiting)\nlocal leased = toComeIn(q.leased)\nlocal oldestReady = false\nlocal function see(visible)\nif visible and (not oldestReady or visible < oldestReady) then oldestReady = visible end\nend\nfor _, id in ipairs(redis.call('ZRANGE', q.ready, 0, 99)) do see(stateOf(q, id).v or timeOf(id)) end\nfor _, set in ipairs({ q.delayed, q.leased, q.waiting }) do\nsee(tonumber(redis.call('ZRANGEBYSCORE', set, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 1)[2]))\nend\nlocal function ageOf(id)\nreturn id and math.max(0, now - (stateOf(q, id).s or timeOf(id)))\nend\nlocal function orNull(value)\nif value then return value end\nreturn false\nend\nlocal meta = redis.call('HMGET', q.meta, 'sent', 'created')\nreturn {\nready, delayed, leased, redis.call('ZCARD', q.archive), tonumber(meta[1]),\norNull(oldestReady and math.max(0, now - oldestReady)),\norNull(ageOf(redis.call('ZRANGE', q.order, -1, -1)[1])),\norNull(ageOf(redis.call('ZRANGE', q.order, 0, 0)[1])),\ntonumber(meta[2]),\n}"
  },
  "topic-ack": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "topicKeys",
      "topicAt",
      "look",
      "missing",
      "subscriptionOf",
      "noSubscription",
      "clock",
      "now",
      "saveSubscription",
      "idOf",
      "showCursor",
      "moveTo"
    ],
    "code": "local t = topicAt(1)\nif not look(t) then return missing(t) end\nlocal s = subscriptionOf(t, ARGV[1])\nif not s then return noSubscription(t, ARGV[1]) end\nif ARGV[3] and s.r ~= ARGV[3] then return 0 end\nlocal cursor = math.min(tonumber(ARGV[2]), t.last)\nif cursor > s.c then moveTo(t, ARGV[1], s, cursor) end\nreturn 1"
  },
  "topic-create": {
    "flags": "#!lua",
    "helpers": [
      "clock",
      "now"
    ],
    "code": "if redis.call('EXISTS', KEYS[1]) == 0 then\nredis.call('HSET', KEYS[1], 'created', now, 'incarnation', ARGV[1])\nend\nfor i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end\nlocal found = redis.call('HMGET', KEYS[1], 'incarnation', 'created')\nreturn { found[1] == ARGV[1] and 1 or 0, found[2] }"
  },
  "topic-drop": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "topicKeys",
      "topicAt",
      "look"
    ],
    "code": "local t = topicAt(1)\nif not look(t) then return false end\nfor _, name in ipairs(topicKeys) do\nif name ~= 'outbox' then redis.call('UNLINK', t[name]) end\nend\nreturn t.incarnation"
  },
  "topic-hold": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "topicKeys",
      "topicAt",
      "look",
      "missing",
      "subscriptionOf",
      "noSubscription",
      "clock",
      "now",
      "saveSubscription"
    ],
    "code": "local t = topicAt(1)\nif not look(t) then return missing(t) end\nlocal s = subscriptionOf(t, ARGV[2])\nif not s then return noSubscription(t, ARGV[2]) end\nlocal isNew = s.h ~= ARGV[3]\nif isNew and s.u and s.u > now then return { false, s.u - now } end\nlocal position = math.max(s.c, t.base)\nif s.p ~= position then s.v, s.p = 0, position end\nif isNew and s.u and position < t.last then s.v = s.v + 1 end\nif isNew or not s.r then s.r = ARGV[1] end\ns.h, s.u = ARGV[3], now + tonumber(ARGV[4])\nsaveSubscription(t, ARGV[2], s)\nreturn { s.r, s.c, s.v }"
  },
  "topic-leave": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "topicKeys",
      "topicAt",
      "look",
      "missing",
      "subscriptionOf",
      "noSubscription",
      "saveSubscription",
      "wakeReaders"
    ],
    "code": "local t = topicAt(1)\nif not look(t) then return missing(t) end\nlocal s = subscriptionOf(t, ARGV[1])\nif not s then return noSubscription(t, ARGV[1]) end\nif s.r ~= ARGV[2] then return 0 end\ns.u = nil\nsaveSubscription(t, ARGV[1], s)\nwakeReaders(t)\nreturn 1"
  },
  "topic-maintain": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "topicKeys",
      "topicAt",
      "isThere",
      "look",
      "clock",
      "now",
      "forgetDedup",
      "idOf",
      "fieldAt",
      "firstWith",
      "scan",
      "timeOf",
      "addPair",
      "leftEntries",
      "oldDeliveries"
    ],
    "code": "local t = topicAt(1)\nlocal isThere = look(t)\nlocal more = forgetDedup(t, 1000)\nlocal function readByAll()\nlocal lowest\nfor _, packed in ipairs(redis.call('HVALS', t.subscriptions)) do\nlocal cursor = cmsgpack.unpack(packed).c\nlowest = math.min(lowest or cursor, cursor)\nend\nreturn lowest or 0\nend\nlocal function lastToGo()\nlocal retention = redis.call('HMGET', t.meta, 'age', 'size', 'read')\nlocal age, size = tonumber(retention[1]), tonumber(retention[2])\nlocal last = t.base\nif retention[3] == '1' then last = math.max(last, readByAll()) end\nif age then last = math.max(last, firstWith(t, 'at', now - age) - 1) end\nif size and t.bytes - t.gone > size then last = math.max(last, firstWith(t, 'bytes', t.bytes - size)) end\nreturn last\nend\nif isThere and t.last > t.base then\nlocal wanted = lastToGo()\nlocal last = math.min(wanted, t.base + tonumber(ARGV[6]))\nif last > t.base then\nredis.call('HSET', t.meta, 'base', last, 'gone', fieldAt(t, last, 'bytes'))\nredis.call('XTRIM', t.log, 'MINID', idOf(last + 1))\nend\nmore = more or last < wanted\nend\nlocal left, followingLeft = leftEntries(t, ARGV[1], ARGV[2], ARGV[4])\nlocal old, followingOld = oldDeliveries(t, ARGV[3], ARGV[5])\nreturn { isThere and 1 or 0, more and 1 or 0, left, old, followingLeft, followingOld }"
  },
  "topic-seek": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "topicKeys",
      "topicAt",
      "look",
      "missing",
      "subscriptionOf",
      "noSubscription",
      "clock",
      "now",
      "saveSubscription",
      "idOf",
      "showCursor",
      "moveTo",
      "fieldAt",
      "firstWith",
      "cursorAt",
      "wakeReaders"
    ],
    "code": "local t = topicAt(1)\nif not look(t) then return missing(t) end\nlocal position = cjson.decode(ARGV[2])\nlocal names = ARGV[1] == '' and redis.call('HKEYS', t.subscriptions) or { ARGV[1] }\nfor _, name in ipairs(names) do\nlocal s = subscriptionOf(t, name)\nif not s then return noSubscription(t, name) end\ns.r, s.p = nil, nil\nmoveTo(t, name, s, cursorAt(t, position, s.c))\nend\nwakeReaders(t)\nreturn #names"
  },
  "topic-subscribe": {
    "flags": "#!lua",
    "helpers": [
      "topicKeys",
      "topicAt",
      "look",
      "missing",
      "subscriptionOf",
      "idOf",
      "fieldAt",
      "firstWith",
      "cursorAt",
      "clock",
      "now",
      "saveSubscription",
      "showCursor"
    ],
    "code": "local t = topicAt(1)\nif not look(t) then return missing(t) end\nlocal before = subscriptionOf(t, ARGV[1])\nif before then return before.i == ARGV[3] and 1 or 0 end\nlocal s = { i = ARGV[3], c = cursorAt(t, cjson.decode(ARGV[2]), t.last), a = now }\nsaveSubscription(t, ARGV[1], s)\nshowCursor(t, ARGV[1], s)\nreturn 1"
  },
  "topic-subscriptions": {
    "flags": "#!lua flags=no-writes",
    "helpers": [
      "topicKeys",
      "topicAt",
      "look",
      "missing",
      "subscriptionOf",
      "noSubscription",
      "clock",
      "now"
    ],
    "code": "local t = topicAt(1)\nif not look(t) then return missing(t) end\nlocal names = ARGV[1] == '' and redis.call('HKEYS', t.subscriptions) or { ARGV[1] }\nlocal states = {}\nfor i, name in ipairs(names) do\nlocal s = subscriptionOf(t, name)\nif not s then return noSubscription(t, name) end\nlocal isHeld = s.u and s.u > now\nstates[i] = {\nname, s.c, t.last - math.max(s.c, t.base), math.max(t.base - s.c, 0), s.a, s.m or false, isHeld and s.h or false,\n}\nend\nreturn states"
  },
  "topic-unsubscribe": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "topicKeys",
      "topicAt",
      "look",
      "missing"
    ],
    "code": "local t = topicAt(1)\nif not look(t) then return missing(t) end\nredis.pcall('XGROUP', 'DESTROY', t.log, ARGV[1])\nreturn redis.call('HDEL', t.subscriptions, ARGV[1])"
  },
  "unbind": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "changeRoutes"
    ],
    "code": "local route = ARGV[1] .. ' ' .. ARGV[2]\nlocal found = redis.call('HGET', KEYS[1], route)\nif not found or string.match(found, ' (.*)') ~= ARGV[3] then return 0 end\nredis.call('HDEL', KEYS[1], route)\nchangeRoutes(KEYS[1], ARGV[4])\nreturn 1"
  },
  "deliver": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "queueKeys",
      "queueAt",
      "isThere",
      "missing",
      "forgottenUpTo",
      "timeOf",
      "doubtful",
      "clock",
      "now",
      "onceDelivered",
      "firstWithId",
      "firstOf",
      "digits",
      "base36",
      "addPair",
      "post",
      "postVoid",
      "nextId",
      "save",
      "lineOf",
      "firstIn",
      "noteWake",
      "store",
      "takeId",
      "storeOnce",
      "atOnce",
      "writeAll",
      "finish"
    ],
    "code": "local q = queueAt(1)\nif not isThere(q) then return missing(q) end\nlocal deliveries = {}\nfor i = 5, #ARGV, 3 do table.insert(deliveries, ARGV[i]) end\nlocal mark = doubtful(q, deliveries, ARGV[2])\nif mark then return { mark } end\nlocal results = {}\nfor i, delivery in ipairs(deliveries) do\nlocal text = ARGV[3 * i + 1]\nresults[i] = onceDelivered(q, delivery, storeOnce, ARGV[3 * i], text == '' and {} or cjson.decode(text))\nend\nfinish(q)\nreturn { results, q.posted }"
  },
  "inbox-forget": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "forgottenUpTo",
      "timeOf"
    ],
    "code": "local before = forgottenUpTo(KEYS[1])\nif not before then return end\nlocal mark = before + 1\nlocal count = 0\nfor _, delivery in ipairs(ARGV) do\ncount = count + redis.call('HDEL', KEYS[2], delivery)\nmark = math.max(mark, timeOf(delivery))\nend\nif count > 0 then redis.call('HSET', KEYS[1], 'forgotten', mark) end"
  },
  "intend": {
    "flags": "#!lua",
    "helpers": [
      "missing",
      "digits",
      "base36",
      "clock",
      "now"
    ],
    "code": "if redis.call('EXISTS', KEYS[1]) == 0 then return missing({ meta = KEYS[1] }) end\nlocal id = base36(now, 9) .. '-' .. ARGV[1] .. '-intent'\nredis.call('HSET', KEYS[2], id, ARGV[2])\nreturn id"
  },
  "publish": {
    "flags": "#!lua",
    "helpers": [
      "topicKeys",
      "topicAt",
      "look",
      "queueKeys",
      "queueAt",
      "fulfil",
      "noIntent",
      "forgottenUpTo",
      "timeOf",
      "doubtful",
      "clock",
      "now",
      "onceDelivered",
      "forgetDedup",
      "firstWithId",
      "idOf",
      "append",
      "takeId",
      "appendOnce",
      "wakeReaders",
      "finishTopic",
      "firstOf",
      "digits",
      "base36",
      "addPair",
      "post",
      "postVoid",
      "nextId",
      "save",
      "lineOf",
      "firstIn",
      "noteWake",
      "store",
      "storeOnce",
      "atOnce",
      "writeAll",
      "finish"
    ],
    "code": "if ARGV[2] ~= '' and (redis.call('HGET', KEYS[#KEYS], 'version') or '-') ~= ARGV[2] then return { 0 } end\nlocal plan = cjson.decode(ARGV[3])\nlocal topics, queues = plan[1], plan[2]\nlocal key = 1\nlocal first\nfor _, target in ipairs(topics) do\nlocal t = topicAt(key)\nkey = key + #topicKeys\ntarget.there = look(t) and (target.incarnation == '' or t.incarnation == target.incarnation) and t\nfirst = first or target\nend\nfor _, target in ipairs(queues) do\nlocal q = queueAt(key)\nkey = key + #queueKeys\ntarget.there = redis.call('HGET', q.meta, 'incarnation') == target.incarnation and q\nfirst = first or target\nend\nif (ARGV[4] ~= '' or ARGV[5] ~= '' or first.deliveries) and not first.there then return { -1 } end\nif first.there and not fulfil(first.there, ARGV[4]) then return noIntent() end\nif first.deliveries then\nlocal mark = doubtful(first.there, first.deliveries, first.checked)\nif mark then return { 2, mark } end\nend\nlocal decoded = {}\nlocal function optionsOf(number)\nlocal text = ARGV[number]\ndecoded[number] = decoded[number] or (text == '' and {} or cjson.decode(text))\nreturn decoded[number]\nend\nlocal function takeIn(target, n, work, ...)\nif target.deliveries then return onceDelivered(target.there, target.deliveries[n], work, ...) end\nreturn work(target.there, ...)\nend\nlocal topicAnswers = {}\nfor i, target in ipairs(topics) do\ntarget.fresh = {}\ntopicAnswers[i] = false\nif target.there then\nforgetDedup(target.there, 10)\nlocal results = {}\nfor n, index in ipairs(target.messages) do\nlocal at = 6 + index * 5\nresults[n] = takeIn(target, n, appendOnce, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], optionsOf(at + 4))\nif string.sub(results[n], 1, 1) == '+' then target.fresh[index] = true end\nend\nfinishTopic(target.there)\ntopicAnswers[i] = results\nend\nend\nlocal function choose(target)\nlocal candidates, chosen = {}, {}\nfor i, index in ipairs(target.messages) do\ncandidates[i], chosen[index] = index, true\nend\nfor _, number in ipairs(target.through) do\nlocal topic = topics[number + 1]\nfor _, index in ipairs(topic.messages) do\nif chosen[index] == nil then table.insert(candidates, index) end\nchosen[index] = chosen[index] or topic.fresh[index] or false\nend\nend\ntable.sort(candidates)\nreturn candidates, chosen\nend\nlocal queueAnswers = {}\nfor i, target in ipairs(queues) do\nlocal q = target.there\nlocal candidates, chosen = choose(target)\nlocal got, results = {}, {}\nif q then forgetDedup(q, 10) end\nfor _, index in ipairs(candidates) do\nlocal at = 6 + index * 5\nlocal o = optionsOf(at + 4)\nlocal task = o.w\nif task then o.w = task .. '/' .. target.name end\nif q and chosen[index] then\nlocal body = '[' .. ARGV[at] .. target.name .. '\"},' .. ARGV[at + 2] .. ']\\n' .. ARGV[at + 3]\ntable.insert(got, index)\ntable.insert(results, takeIn(target, #got, storeOnce, body, o))\nelse\npostVoid(first.there, o)\nend\no.w = task\nend\nif q then finish(q) end\nqueueAnswers[i] = q and { got, results, q.posted }\nend\nlocal entry = ''\nif ARGV[5] ~= '' then\nentry = base36(now, 9) .. '-' .. ARGV[1] .. '-copies'\nlocal results = topicAnswers[1] or queueAnswers[1][2]\nredis.call('HSET', first.there.outbox, entry, ARGV[5] .. ',\"results\":' .. cjson.encode(results) .. '}')\nend\nreturn { 1, topicAnswers, queueAnswers, entry, topics[1] and topics[1].there and topics[1].there.posted or {} }"
  },
  "removed-tasks": {
    "flags": "#!lua flags=allow-oom",
    "helpers": [
      "atOnce",
      "writeAll",
      "readAll",
      "unpacked",
      "addPair"
    ],
    "code": "local most = tonumber(ARGV[2])\nif ARGV[1] ~= '' then\nlocal told = redis.call('ZRANGEBYLEX', KEYS[1], '-', '[' .. ARGV[1], 'LIMIT', 0, most)\nwriteAll('ZREM', KEYS[1], told)\nwriteAll('HDEL', KEYS[2], told)\nend\nlocal ids = redis.call('ZRANGE', KEYS[1], 0, most - 1)\nif #ids == 0 then\nredis.call('UNLINK', KEYS[2])\nreturn false\nend\nlocal tasks = {}\nfor _, state in ipairs(readAll(KEYS[2], ids)) do\nlocal m = unpacked(state)\nif m.w then addPair(tasks, m.c, m.w) end\nend\nreturn { ids[#ids], tasks }"
  }
} as const
