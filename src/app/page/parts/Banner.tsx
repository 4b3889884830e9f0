/** What concerns every screen: the server is gone, or the page is of an older version. */
export function Banner({ reached, updated }: { reached: boolean; updated: boolean }) {
  if (!reached) {
    return (
      <div class="banner bad" role="alert">
        <p>
          <strong>Loam’s server does not answer.</strong> This page connects by itself when it is back; start it with{' '}
          <code>loam serve</code>.
        </p>
        <button type="button" class="button small" onClick={() => dispatchEvent(new Event('loam-retry'))}>
          Try now
        </button>
      </div>
    );
  }
  if (!updated) return null;
  return (
    <div class="banner" role="status">
      <p>Loam was updated.</p>
      <button type="button" class="button small" onClick={() => location.reload()}>
        Load the new page
      </button>
    </div>
  );
}
