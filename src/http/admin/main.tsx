/** The admin page: who is signed in, and which view is there. */
import { render } from "preact"
import { useCallback, useEffect, useRef, useState } from "preact/hooks"
import { Browse } from "./browse.tsx"
import { Client, Failure, readConfig, type Session } from "./client.tsx"
import { DocumentPage, NewDocument } from "./document.tsx"
import { linkTo, type Place, placeOf } from "./model.ts"
import { Overview } from "./overview.tsx"
import { AppContext, Confirm, Dialog, Heading, Loading, Problem } from "./parts.tsx"
import { SignIn, SignInForm } from "./signIn.tsx"
import { Costs, Plugins, Store } from "./status.tsx"

const View = ({ place }: { readonly place: Place }) => {
  switch (place.page) {
    case "overview":
      return <Overview />
    case "browse":
      return <Browse key={place.resource} name={place.resource} query={place.query} />
    case "new":
      return <NewDocument key={place.resource} name={place.resource} />
    case "document":
      return <DocumentPage key={`${place.resource}/${place.id}`} name={place.resource} id={place.id} tab={place.tab} />
    case "plugins":
      return <Plugins />
    case "costs":
      return <Costs />
    case "store":
      return <Store />
    case "nothing":
      return <Heading title="There is nothing here" />
  }
}

const links = [
  ["overview", "Resources", linkTo("")],
  ["plugins", "Plugins", linkTo("plugins")],
  ["costs", "Costs", linkTo("costs")],
  ["store", "Store", linkTo("store")]
] as const

const ofResources = new Set(["overview", "browse", "new", "document"])

const Main = ({ client }: { readonly client: Client }) => {
  const [session, setSession] = useState<Session>()
  const [place, setPlace] = useState(() => placeOf(location.hash))
  const [notice, setNotice] = useState("")
  const [said, setSaid] = useState("")
  const [toast, setToast] = useState("")
  const shown = useRef<ReturnType<typeof setTimeout>>(undefined)
  const [failure, setFailure] = useState<unknown>()

  const [isOver, setOver] = useState(false)
  const [leaving, setLeaving] = useState("")
  const unsaved = useRef(false)
  const here = useRef(location.hash)

  useEffect(() => {
    const moved = () => {
      if (unsaved.current && location.hash !== here.current) {
        setLeaving(location.hash)
        history.replaceState(null, "", here.current)
        return
      }
      here.current = location.hash
      setPlace(placeOf(location.hash))
    }
    addEventListener("hashchange", moved)
    // What somebody was at stays as it is, for when he is back.
    client.onSignedOut = () => setOver(true)
    if (client.hasCredentials) {
      client.session().then(setSession, (error: unknown) => {
        client.forget()
        if (error instanceof Failure && error.status === 401) setNotice("Your session is over: sign in again.")
        else setFailure(error)
        setOver(false)
      })
    }
    return () => removeEventListener("hashchange", moved)
  }, [])

  const announce = useCallback((message: string) => {
    setSaid("")
    // A reader tells what has changed: the same again is a change, too.
    setTimeout(() => setSaid(message), 50)
  }, [])
  const say = useCallback(
    (message: string) => {
      announce(message)
      clearTimeout(shown.current)
      setToast(message)
      shown.current = setTimeout(() => setToast(""), 5000)
    },
    [announce]
  )

  const [isLeaving, setIsLeaving] = useState(false)
  const left = (message: string) => {
    unsaved.current = false
    setOver(false)
    setSession(undefined)
    setNotice(message)
  }
  const signOut = () => {
    void client.signOut()
    left("You are signed out.")
  }

  if (session === undefined) {
    if (client.hasCredentials) return <Loading />
    return (
      <>
        {failure !== undefined && <Problem error={failure} />}
        <SignIn
          client={client}
          notice={notice}
          onSession={(found) => {
            setFailure(undefined)
            setNotice("")
            setSession(found)
          }}
        />
      </>
    )
  }
  return (
    <AppContext.Provider value={{ announce, client, session, say, unsaved }}>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault()
          document.getElementById("main")?.focus()
        }}
      >
        Skip to the content
      </a>
      <header>
        <span class="brand">{client.config.title}</span>
        <nav aria-label="Main">
          <ul>
            {links
              .filter(([page]) => page !== "costs" || session.hasCosts)
              .map(([page, label, href]) => (
                <li>
                  <a
                    href={href}
                    aria-current={
                      place.page === page || (page === "overview" && ofResources.has(place.page)) ? "page" : undefined
                    }
                  >
                    {label}
                  </a>
                </li>
              ))}
          </ul>
        </nav>
        <div class="who">
          <span>{session.user.id}</span>
          <button type="button" onClick={signOut}>
            Sign out
          </button>
          {client.hasSessions && (
            <button type="button" onClick={() => setIsLeaving(true)}>
              Sign out everywhere
            </button>
          )}
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        <View key={session.user.id} place={place} />
      </main>
      <div class="hidden" role="status">
        {said}
      </div>
      {toast !== "" && (
        <div class="toast" aria-hidden="true">
          {toast}
        </div>
      )}
      {leaving !== "" && (
        <Confirm
          title="Leave without saving?"
          label="Leave"
          doIt={() => {
            unsaved.current = false
            location.hash = leaving
            return Promise.resolve()
          }}
          onClose={() => setLeaving("")}
        >
          <p>What you have changed is not saved, and would be lost.</p>
        </Confirm>
      )}
      {isLeaving && (
        <Confirm
          title="Sign out everywhere?"
          label="End all sessions"
          doIt={async () => {
            await client.signOutEverywhere()
            left("You are signed out everywhere.")
          }}
          onClose={() => setIsLeaving(false)}
        >
          <p>All browsers in which you are signed in are signed out, this one too. What is not saved there is lost.</p>
        </Confirm>
      )}
      {isOver && (
        <Dialog title="Your session is over" onClose={signOut}>
          <p>Sign in again to go on where you were.</p>
          <SignInForm
            client={client}
            isOver
            onSession={(found) => {
              setOver(false)
              setSession(found)
            }}
          />
        </Dialog>
      )}
    </AppContext.Provider>
  )
}

const app = document.getElementById("app")
if (app !== null) render(<Main client={new Client(readConfig())} />, app)
