/**
 * What the page may do: its own scripts, styles and pictures, and requests to its own server; nothing inline, nothing from elsewhere.
 * Trusted Types leave no way from a string to HTML or script, whatever a model answers; the one policy that may be made is that of
 * the service worker's address (src/app/page/registerWorker.ts).
 */
export const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types loam-worker',
].join('; ');
