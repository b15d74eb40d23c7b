import type { Finding } from '../../engine.ts'
import type { Driver } from './driver.ts'

/** Looks for what could hurt. */
export async function diagnose(_driver: Driver): Promise<Finding[]> {
  return []
}
