import { useEffect, useState } from 'preact/hooks';

/** Said only when it takes a while: on loopback most answers come before an eye could read it. */
export function Loading({ what = 'Loading' }: { what?: string }) {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), 250);
    return () => clearTimeout(timer);
  }, []);
  return (
    <p class="loading" role="status">
      {late ? `${what}…` : ''}
    </p>
  );
}
