// A plugin of OpenCode, which tells its waits on standard error; `opencode_waits.py` reads them.
export const Athanore = async () => ({
  event: async ({ event }) => {
    const status = event.type === "session.status" ? event.properties?.status : undefined
    if (status?.type !== "retry") return
    const { message, next } = status
    process.stderr.write(`athanore-waits ${JSON.stringify({ message, next })}\n`)
  },
})
