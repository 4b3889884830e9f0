import { ApiError } from '../api.js';
import { Icon } from './Icon.js';

/** What went wrong, in the server's words, and what can be done. Read out at once. */
export function Fault({ error, onRetry }: { error: Error | undefined; onRetry?: () => void }) {
  if (!error) return null;
  const fix = error instanceof ApiError && error.message.includes(error.fault.fix ?? '\0') ? undefined : fixOf(error);
  return (
    <div class="note bad" role="alert">
      <Icon name="warn" />
      <div>
        <p>{error.message}</p>
        {fix && <p class="quiet">{fix}</p>}
        {onRetry && (
          <button type="button" class="link" onClick={onRetry}>
            Try again
          </button>
        )}
      </div>
    </div>
  );
}

function fixOf(error: Error): string | undefined {
  const fix = error instanceof ApiError ? error.fault.fix : undefined;
  return fix && `${fix[0]!.toUpperCase()}${fix.slice(1)}.`;
}
