/**
 * What a queue or a topic remembers to have taken: a parcel, or one of the messages in it, and where it is from. It begins
 * with the time at which the parcel was made, as ids do.
 */
export const shipmentOf = (parcel: string, origin: string, index?: number) =>
  `${parcel}${index === undefined ? '' : `/${index}`}@${origin}`

export function readShipment(shipment: string): { readonly parcel: string; readonly origin: string } {
  const [, parcel = '', origin = ''] = /^([^/@]*)(?:\/\d+)?@(.*)$/s.exec(shipment) ?? []
  return { parcel, origin }
}

/** A time as ids begin with it. */
export const toLabel = (time: number) => time.toString(36).padStart(9, '0')
