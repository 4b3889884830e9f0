interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL: (url: string) => string },
  ): { createScriptURL: (url: string) => unknown };
}

/** Installs the service worker. `onUpdate` is called when a newer version of the page has taken over. */
export function registerWorker(onUpdate: () => void): void {
  if (!('serviceWorker' in navigator)) return;
  const { serviceWorker } = navigator;
  const had = serviceWorker.controller !== null;
  serviceWorker.addEventListener('controllerchange', () => {
    if (had) onUpdate();
  });
  const path = '/sw.js';
  const trusted = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes;
  const url = trusted
    ? trusted
        .createPolicy('loam-worker', {
          createScriptURL(given) {
            if (given !== path) throw new TypeError(`no script but ${path} may be a worker`);
            return given;
          },
        })
        .createScriptURL(path)
    : path;
  // Where it is refused (a private window), the page works as before, only not without its server.
  serviceWorker.register(url as string, { updateViaCache: 'none' }).catch(() => {});
}
