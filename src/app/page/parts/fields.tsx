import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import type { FormField } from '../../logic/formFields.js';

interface ChoiceProps<T extends string> {
  label: string;
  value: T;
  options: readonly { value: T; label: string; count?: number }[];
  onChange: (value: T) => void;
  /** The label is shown as well; it is always read out. */
  showLabel?: boolean;
}

/** One of a few: radio buttons that look like one bar, so that arrow keys and screen readers know them. */
export function Choice<T extends string>({ label, value, options, onChange, showLabel }: ChoiceProps<T>) {
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

interface FieldProps {
  label: string;
  hint?: ComponentChildren;
  error?: string;
  /** Gets the ids that tie the control to its label and its words. */
  children: (ids: { id: string; 'aria-describedby'?: string; 'aria-invalid'?: boolean }) => ComponentChildren;
}

/** A control with its label, a hint and, where it does not fit, why. */
export function Field({ label, hint, error, children }: FieldProps) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ') || undefined;
  return (
    <div class={error ? 'field wrong' : 'field'}>
      <label for={id}>{label}</label>
      {children({ id, 'aria-describedby': described, 'aria-invalid': error ? true : undefined })}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error && (
        <p class="field-error" id={`${id}-error`} role="alert">
          {error}
        </p>
      )}
    </div>
  );
}

interface OptionFieldProps {
  field: FormField;
  value: string | boolean | undefined;
  fault?: string;
  onChange: (value: string | boolean) => void;
}

/** The control of one declared option; its sentence is the hint. */
export function OptionField({ field: { name, label, option, fallback }, value, fault, onChange }: OptionFieldProps) {
  if (option.kind === 'flag') {
    return (
      <label class="check">
        <input
          type="checkbox"
          checked={value === undefined ? option.default : value === true}
          onChange={(event) => onChange(event.currentTarget.checked)}
        />
        <span>
          {label}
          <span class="hint">{option.sentence}</span>
        </span>
      </label>
    );
  }
  const text = typeof value === 'string' ? value : '';
  const numeric = option.kind === 'integer' || option.kind === 'number';
  return (
    <Field label={label} hint={option.sentence} error={fault}>
      {(ids) =>
        option.kind === 'choice' ? (
          <select
            {...ids}
            name={name}
            value={text || option.default}
            onChange={(event) => onChange(event.currentTarget.value)}
          >
            {option.choices.map((choice) => (
              <option key={choice} value={choice}>
                {choice}
              </option>
            ))}
          </select>
        ) : (
          <input
            {...ids}
            name={name}
            type="text"
            inputMode={option.kind === 'integer' ? 'numeric' : numeric ? 'decimal' : undefined}
            value={text}
            placeholder={
              fallback === undefined
                ? `chosen for you${option.value && !numeric ? `, or ${option.value}` : ''}`
                : fallback
            }
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            onInput={(event) => onChange(event.currentTarget.value)}
          />
        )
      }
    </Field>
  );
}
