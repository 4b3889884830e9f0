import { useId } from 'preact/hooks';

interface Props<T extends string> {
  label: string;
  value: T;
  options: readonly { value: T; label: string; count?: number }[];
  onChange: (value: T) => void;
  /** The label is shown as well; it is always read out. */
  showLabel?: boolean;
}

/** One of a few: radio buttons that look like one bar, so that arrow keys and screen readers know them. */
export function Choice<T extends string>({ label, value, options, onChange, showLabel }: Props<T>) {
  const name = useId();
  return (
    <fieldset class="choice">
      <legend class={showLabel ? undefined : 'unseen'}>{label}</legend>
      <div class="choice-bar">
        {options.map((option) => (
          <label key={option.value} class={option.value === value ? 'chosen' : undefined}>
            <input
              type="radio"
              name={name}
              value={option.value}
              checked={option.value === value}
              onChange={() => onChange(option.value)}
            />
            <span>
              {option.label}
              {option.count !== undefined && <small> {option.count.toLocaleString('en-US')}</small>}
            </span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
