// Bars as an SVG, without a library: a bar for each contender, those of Tidings in another colour.
const font = 'font-family="system-ui, sans-serif" font-size="12"'
const left = 250
const barWidth = 430
const rowHeight = 22

const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

/** @param bars { title, isOurs, value, text } */
export function barChart(title, bars) {
  const most = Math.max(...bars.map(({ value }) => value), Number.MIN_VALUE)
  const height = 34 + bars.length * rowHeight
  const rows = bars.map(({ title: name, isOurs, value, text }, at) => {
    const y = 30 + at * rowHeight
    const width = Math.max(1, (value / most) * barWidth)
    return [
      `<text x="${left - 8}" y="${y + 13}" text-anchor="end">${escaped(name)}</text>`,
      `<rect x="${left}" y="${y}" width="${width.toFixed(1)}" height="16" fill="${isOurs ? '#1f6feb' : '#9aa4b2'}"/>`,
      `<text x="${(left + width + 6).toFixed(1)}" y="${y + 13}">${escaped(text)}</text>`,
    ].join('')
  })
  const size = `width="800" height="${height}" viewBox="0 0 800 ${height}"`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="${escaped(title)}" ${font} fill="#1c2128">`,
    `<rect width="800" height="${height}" fill="#ffffff"/>`,
    `<text x="8" y="18" font-weight="600">${escaped(title)}</text>`,
    ...rows,
    '</svg>',
    '',
  ].join('\n')
}
