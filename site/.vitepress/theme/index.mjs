import { useData } from 'vitepress'
import Theme from 'vitepress/theme-without-fonts'
import { h } from 'vue'
import './style.css'

/** Every page is there as Markdown, too: for programs that read it, and for people who like that. */
const AsMarkdown = () => {
  const { page, site } = useData()
  return h(
    'p',
    { class: 'as-markdown' },
    h('a', { href: site.value.base + page.value.relativePath }, 'This page as Markdown'),
  )
}

export default { extends: Theme, Layout: () => h(Theme.Layout, null, { 'doc-footer-before': () => h(AsMarkdown) }) }
