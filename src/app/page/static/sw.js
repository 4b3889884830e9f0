// The service worker: the page's own files from a cache, so that it opens while the server is away. `version` and `shell` are put
// before this text by src/app/appFiles.ts. Nothing of the API is ever cached: answers hold private text.
const cacheName = `loam-${version}`;

const isCatalogue = (path) => path.startsWith('/languages/');

/** Texts in the languages that an earlier version of the page was read in. */
async function usedCatalogues() {
  const used = new Set();
  for (const name of await caches.keys()) {
    for (const { url } of await (await caches.open(name)).keys()) used.add(new URL(url).pathname);
  }
  return [...used].filter(isCatalogue);
}

self.addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(cacheName);
      // All or nothing: addAll fails as a whole.
      await cache.addAll([...shell, ...(await usedCatalogues())].map((path) => new Request(path, { cache: 'reload' })));
      await self.skipWaiting();
    })(),
  );
});

self.addEventListener('activate', (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) {
        if (name.startsWith('loam-') && name !== cacheName) await caches.delete(name);
      }
      await self.clients.claim();
    })(),
  );
});

// What another app has shared with this one (share_target in the manifest), until the page asks for it: in memory, and for a minute. Any
// web page can send a form here as well, so it is an offer: the page shows it, and sends nothing of it to the server unless the person says so.
const sharePath = '/share';
const shareMinute = 60_000;
const mostShared = 20;
let shared = [];
let taken = () => {};

async function takeShared(event) {
  const form = await event.request.formData().catch(() => new FormData());
  const files = form.getAll('file').filter((one) => one instanceof File && one.size > 0);
  const words = ['title', 'text', 'url']
    .map((name) => form.get(name))
    .filter((one) => typeof one === 'string' && one !== '');
  const text =
    words.length > 0 && files.length === 0
      ? [new File([words.join('\n\n')], 'Shared text.txt', { type: 'text/plain' })]
      : [];
  shared = [...files, ...text].slice(0, mostShared);
  // Without this the browser may end the worker before the page is there.
  event.waitUntil(
    new Promise((resolve) => {
      taken = resolve;
      setTimeout(resolve, shareMinute);
    }).then(() => {
      shared = [];
    }),
  );
  return Response.redirect('/#/shared', 303);
}

self.addEventListener('message', (event) => {
  if (event.data !== 'shared') return;
  event.ports[0]?.postMessage(shared);
  taken();
});

self.addEventListener('notificationclick', (event) => {
  const { notification } = event;
  notification.close();
  event.waitUntil(
    (async () => {
      const [open] = await self.clients.matchAll({ type: 'window' });
      if (!open) return await self.clients.openWindow(notification.data);
      await open.focus();
      return await open.navigate(notification.data);
    })().catch(() => {}),
  );
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method === 'POST' && origin === self.location.origin && pathname === sharePath) {
    // No frame and no script shares anything.
    if (request.mode === 'navigate' && request.destination === 'document') event.respondWith(takeShared(event));
    return;
  }
  if (
    request.method !== 'GET' ||
    origin !== self.location.origin ||
    !(shell.includes(pathname) || isCatalogue(pathname))
  )
    return;
  event.respondWith(
    (async () => {
      const cache = await caches.open(cacheName);
      const kept = await cache.match(pathname);
      if (kept) return kept;
      const answer = await fetch(request);
      if (isCatalogue(pathname) && answer.ok) await cache.put(pathname, answer.clone());
      return answer;
    })(),
  );
});
