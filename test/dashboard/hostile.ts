/** Sets `window.hacked` wherever text becomes markup, an address or code. */
const markup = `"'><img src=x onerror="window.hacked=1"><script>window.hacked=1</script><a href="javascript:window.hacked=1">x</a>`
/** An escape sequence, what turns the direction of text, what has no width, a line separator. */
const marks = 'a\u0001\u001b[31m\u007f\u202egnp.exe\u202c\u2066\u200b\ufeff\u2028z'

/** A message that somebody sends who wants to harm the person who looks at it. */
export const hostile = {
  markup,
  marks,
  data: JSON.parse(
    `{${[markup, marks, '__proto__', 'constructor', 'toString'].map((key) => `${JSON.stringify(key)}: ${JSON.stringify(markup + marks)}`).join()}}`,
  ) as unknown,
  options: {
    headers: { [markup]: markup, marks },
    meta: { targetId: markup + marks, correlationId: markup, actionType: markup, [markup]: marks },
    group: markup,
  },
} as const
