import type { AllHTMLAttributes, ButtonHTMLAttributes, ComponentChildren, Ref } from 'preact';
import { useId, useRef } from 'preact/hooks';
import { choiceWord, type FormField } from '../../logic/formFields.js';
import { number } from '../../logic/language.js';
import { Icon, type IconName } from './layout.js';

/** What a person types, ticks, picks and presses: controls with a label, a hint and, if a value is not valid, the reason. */

interface IconButtonProps extends ButtonHTMLAttributes {
  icon: IconName;
  /** Not seen, but read out. */
  label: string;
  size?: number;
}

/** A button that shows nothing but an icon. */
export function IconButton({ icon, label, size, class: more, ...attributes }: IconButtonProps) {
  return (
    <button type="button" class={more ? `icon-button ${more}` : 'icon-button'} aria-label={label} {...attributes}>
      <Icon name={icon} size={size} />
    </button>
  );
}

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
              {option.count !== undefined && <small> {number(option.count)}</small>}
            </span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

interface CheckProps {
  checked: boolean;
  onChange: (checked: boolean) => void;
  hint?: string;
  children: ComponentChildren;
}

export function Check({ checked, onChange, hint, children }: CheckProps) {
  return (
    <label class="check">
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.currentTarget.checked)} />
      <span>
        {children}
        {hint && <span class="hint">{hint}</span>}
      </span>
    </label>
  );
}

interface FieldProps {
  label: string;
  hint?: ComponentChildren;
  error?: string;
}

/** A control with its label and its words. `children` gets the ids that tie them together. */
function Field({ label, hint, error, children }: FieldProps & { children: (ids: object) => ComponentChildren }) {
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

type Control = HTMLInputElement & HTMLTextAreaElement;

interface TextFieldProps
  extends FieldProps,
    Pick<
      AllHTMLAttributes<Control>,
      | 'autocomplete'
      | 'class'
      | 'inputMode'
      | 'maxLength'
      | 'name'
      | 'onKeyDown'
      | 'placeholder'
      | 'spellcheck'
      | 'type'
    > {
  value: string;
  onInput: (text: string) => void;
  /** For text of several lines: how many an empty field shows. */
  rows?: number;
  /** Names, numbers and the like: the browser completes and corrects nothing. */
  verbatim?: boolean;
  /** Of a field with several lines. */
  control?: Ref<HTMLTextAreaElement>;
}

export function TextField({ label, hint, error, value, onInput, rows, verbatim, control, ...rest }: TextFieldProps) {
  const attributes = {
    ...rest,
    ...(verbatim && { autocomplete: 'off', autocapitalize: 'off', spellcheck: false }),
    value,
    onInput: (event: { currentTarget: Control }) => onInput(event.currentTarget.value),
    ref: control,
  } as object;
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) =>
        rows === undefined ? (
          <input type="text" {...ids} {...attributes} />
        ) : (
          <textarea {...ids} rows={rows} {...attributes} />
        )
      }
    </Field>
  );
}

interface SelectProps extends FieldProps {
  value: string;
  onChange: (value: string) => void;
  name?: string;
  options?: readonly { value: string; label: string }[];
  /** Instead of `options`, if they come in groups. */
  children?: ComponentChildren;
}

export function Select({ label, hint, error, value, onChange, name, options = [], children }: SelectProps) {
  return (
    <Field label={label} hint={hint} error={error}>
      {(ids) => (
        <select {...ids} name={name} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
          {options.map((option) => (
            <option key={option.value} value={option.value}>
              {option.label}
            </option>
          ))}
          {children}
        </select>
      )}
    </Field>
  );
}

interface OptionFieldProps {
  field: FormField;
  value: string | boolean | undefined;
  fault?: string;
  onChange: (value: string | boolean) => void;
}

/** The control of one declared option; what it does is the hint. */
export function OptionField({
  field: { name, label, line, option, fallback },
  value,
  fault,
  onChange,
}: OptionFieldProps) {
  if (option.kind === 'flag') {
    return (
      <Check checked={value === undefined ? option.default : value === true} onChange={onChange} hint={line}>
        {label}
      </Check>
    );
  }
  const field = { name, label, hint: line, error: fault };
  const text = typeof value === 'string' ? value : '';
  if (option.kind === 'choice') {
    const options = option.choices.map((choice) => ({ value: choice, label: choiceWord(choice) }));
    return <Select {...field} value={text || option.default} onChange={onChange} options={options} />;
  }
  const inputMode = option.kind === 'integer' ? 'numeric' : option.kind === 'number' ? 'decimal' : undefined;
  return <TextField {...field} value={text} onInput={onChange} placeholder={fallback} inputMode={inputMode} verbatim />;
}

/**
 * Lets the person pick files: `input` stands somewhere on the screen, unseen, and `pick` opens the system's choice.
 * @param how.label for those who do not see the button that calls `pick`
 */
export function useFilePicker(
  onPick: (files: File[]) => void,
  how: { label?: string; accept?: string; multiple?: boolean } = {},
): { input: ComponentChildren; pick: () => void } {
  const element = useRef<HTMLInputElement>(null);
  const { label, accept, multiple } = how;
  const input = (
    <input
      ref={element}
      type="file"
      hidden
      aria-label={label}
      accept={accept}
      multiple={multiple}
      onChange={(event) => {
        const files = [...(event.currentTarget.files ?? [])];
        // The same file may be picked again.
        event.currentTarget.value = '';
        if (files.length > 0) onPick(files);
      }}
    />
  );
  return { input, pick: () => element.current!.click() };
}
