// The service worker: the page's own files from a cache, so that it opens while the server is away. `version` and `shell` are put
// before this text by src/app/appFiles.ts. Nothing of the API is ever cached: answers hold private text.
const cacheName = `loam-${version}`;

self.addEventListener('install', (event) => {
  event.waitUntil(
    (async () => {
      const cache = await caches.open(cacheName);
      // All or nothing: addAll fails as a whole.
      await cache.addAll(shell.map((path) => new Request(path, { cache: 'reload' })));
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

self.addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== self.location.origin || !shell.includes(pathname)) return;
  event.respondWith(
    (async () => {
      const cache = await caches.open(cacheName);
      return (await cache.match(pathname)) ?? fetch(request);
    })(),
  );
});
