/** A line without axes, from 0 to the most; null: a gap. */
export function Sparkline({ values, label }: { values: readonly (number | null)[]; label: string }) {
  const most = Math.max(1, ...values.map((value) => value ?? 0))
  const step = 100 / Math.max(1, values.length - 1)
  let path = ''
  let isOn = false
  values.forEach((value, index) => {
    if (value !== null)
      path += `${isOn ? 'L' : 'M'}${(index * step).toFixed(1)} ${(19 - (value / most) * 18).toFixed(1)}`
    isOn = value !== null
  })
  return (
    <svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label={label}>
      <path d={path} />
    </svg>
  )
}
