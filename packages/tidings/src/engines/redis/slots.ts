/** The slots of a Redis Cluster. */
const slotCount = 16_384

/** The slot of a key, by its part between braces: CRC16 (XMODEM) as in the specification of Redis Cluster. */
export function slotOf(key: string): number {
  return crc16(Buffer.from(hashTag(key))) % slotCount
}

function hashTag(key: string): string {
  const start = key.indexOf('{')
  const end = start < 0 ? -1 : key.indexOf('}', start + 1)
  return end > start + 1 ? key.slice(start + 1, end) : key
}

function crc16(bytes: Uint8Array): number {
  let crc = 0
  for (const byte of bytes) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff
  }
  return crc
}
