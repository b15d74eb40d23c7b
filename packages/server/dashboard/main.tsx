import 'uplot/dist/uPlot.min.css'
import './styles/base.css'
import './styles/shell.css'
import './styles/parts.css'
import './styles/table.css'
import './styles/dialog.css'
import './styles/pages.css'
import './styles/plot.css'
import { render } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { type ApiError, asError, endings, openSession, session, token } from './api.ts'
import { Correlation, Correlations } from './pages/correlations.tsx'
import { AllDeadLetters, DeadLetters } from './pages/dead-letters.tsx'
import { Doctor } from './pages/doctor.tsx'
import { Message } from './pages/message.tsx'
import { Messages } from './pages/messages.tsx'
import { Overview } from './pages/overview.tsx'
import { Processes } from './pages/processes.tsx'
import { Queue } from './pages/queue.tsx'
import { Schedules, ScheduleView } from './pages/schedules.tsx'
import { SignIn } from './pages/sign-in.tsx'
import { Target } from './pages/target.tsx'
import { Topic } from './pages/topic.tsx'
import { Topics } from './pages/topics.tsx'
import { Empty, Failure } from './parts/notice.tsx'
import { Page } from './parts/page.tsx'
import { href, pathText, place } from './routes.ts'
import { Shell } from './shell.tsx'

function Here() {
  const [first, name = '', second, id] = place.value.path
  switch (first) {
    case undefined:
      return <Overview />
    case 'queues':
      if (name === '') break
      if (second === undefined) return <Queue key={name} queue={name} />
      if (second === 'messages' && id !== undefined) return <Message key={`${name}/${id}`} queue={name} id={id} />
      if (second === 'messages') return <Messages key={name} queue={name} />
      if (second === 'dead-letters') return <DeadLetters key={name} queue={name} />
      break
    case 'dead-letters':
      return <AllDeadLetters />
    case 'schedules':
      return name === '' ? <Schedules /> : <ScheduleView key={name} name={name} />
    case 'topics':
      return name === '' ? <Topics /> : <Topic key={name} topic={name} />
    case 'correlations':
      return name === '' ? <Correlations /> : <Correlation key={name} id={name} />
    case 'targets':
      if (name === '') break
      return <Target key={name} target={name} />
    case 'processes':
      return <Processes />
    case 'doctor':
      return <Doctor />
  }
  return (
    <Page name="nowhere" title="Nothing here" isLoaded>
      <Empty>
        No page has this address. <a href={href([])}>Overview</a>
      </Empty>
    </Page>
  )
}

function App() {
  const [error, setError] = useState<ApiError | null>(null)
  const given = token.value
  const ended = endings.value
  useEffect(() => {
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout>
    const open = () =>
      openSession(stop.signal).then(
        () => setError(null),
        (caught: unknown) => {
          if (stop.signal.aborted) return
          session.value = null
          const known = asError(caught)
          setError(known)
          if (known.status !== 401 && known.status !== 403) timer = setTimeout(() => void open(), 3_000)
        },
      )
    void open()
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  }, [given, ended])
  // What was scrolled to belongs to the page before.
  const path = pathText.value
  useEffect(() => scrollTo(0, 0), [path])
  const { value: now } = session
  const lacksToken = (now?.needsToken && !given) || error?.status === 401
  return (
    <Shell>
      {lacksToken ? (
        <SignIn refused={given !== '' ? error : null} />
      ) : error && !now ? (
        <main id="main" data-page="failed" data-loaded="">
          <Failure error={error} />
        </main>
      ) : (
        now && <Here />
      )}
    </Shell>
  )
}

render(<App />, document.getElementById('app')!)
