/** A form for a document, made of its schema. */
import { useId, useState } from "preact/hooks"
import { beginningOf, type Draft, type Field, type Issue, keyOf, asText } from "./model.ts"

export interface FormProps {
  readonly fields: ReadonlyArray<Field>
  readonly draft: Draft
  readonly issues: ReadonlyArray<Issue>
  readonly mode: "create" | "edit"
  readonly onDraft: (draft: Draft) => void
}

const without = (draft: Draft, key: string): Draft => new Map([...draft].filter(([one]) => one !== key))

/** What is wrong with a field: with itself, or, where it is one text, with what is in it. */
const issuesOf = ({ kind, path }: Field, issues: ReadonlyArray<Issue>): ReadonlyArray<Issue> =>
  issues.filter(
    (issue) =>
      path.every((name, i) => String(issue.path[i]) === name) &&
      (issue.path.length === path.length || (kind !== "struct" && issue.path.length > path.length))
  )

export const Fields = (props: FormProps) => (
  <>
    {props.fields.map((field) => (
      <OneField key={keyOf(field.path)} field={field} {...props} />
    ))}
  </>
)

const OneField = ({ field, ...props }: FormProps & { readonly field: Field }) => {
  const id = useId()
  const { draft, issues, mode, onDraft } = props
  const { isOptional, isReadonly, isSecret, kind, name, path } = field
  const key = keyOf(path)
  const text = draft.get(key)
  const mine = issuesOf(field, issues)
  // Once and for all: what is written in keeps the focus.
  const [isLong] = useState(() => kind === "text" && !isSecret && /\n|.{80}/.test(text ?? ""))
  const begin = () => {
    const next = new Map(draft)
    const fill = (one: Field): void => {
      next.set(keyOf(one.path), one.kind === "struct" ? "" : beginningOf(one))
      for (const inner of one.fields) if (!inner.isOptional) fill(inner)
    }
    fill(field)
    onDraft(next)
  }
  const [wasAbsent] = useState(mode === "edit" && text === undefined)
  // A secret is not known here: it is written anew, or left as it is.
  const canBeAbsent = !isReadonly && (isOptional || wasAbsent)
  const toggle = canBeAbsent && (
    <label class="toggle">
      <input
        type="checkbox"
        checked={text !== undefined}
        onChange={({ currentTarget }) => (currentTarget.checked ? begin() : onDraft(without(draft, key)))}
      />{" "}
      {isSecret && mode === "edit" ? "change" : "has a value"}
      <span class="hidden"> ({path.join(".")})</span>
    </label>
  )
  const told = (
    <>
      {field.hint !== "" && (
        <p class="hint" id={`${id}hint`}>
          {field.hint}
        </p>
      )}
      {mine.length > 0 && (
        <ul class="issues" id={`${id}issues`}>
          {mine.map((issue) => (
            <li>
              {issue.path.length > path.length && <code>{issue.path.slice(path.length).join(".")}</code>}{" "}
              {issue.message}
            </li>
          ))}
        </ul>
      )}
    </>
  )
  const describedBy =
    [field.hint === "" ? "" : `${id}hint`, mine.length === 0 ? "" : `${id}issues`]
      .filter((one) => one !== "")
      .join(" ") || undefined
  if (kind === "struct") {
    return (
      <fieldset class="struct" aria-describedby={describedBy}>
        <legend>{name}</legend>
        {toggle}
        {told}
        {text !== undefined && <Fields {...props} fields={field.fields} />}
      </fieldset>
    )
  }
  const shared = {
    id,
    name: path.join("."),
    disabled: text === undefined && !isReadonly,
    "aria-invalid": mine.length > 0,
    "aria-describedby": describedBy,
    "aria-required": !isOptional && !isReadonly && !(isSecret && mode === "edit")
  } as const
  const write = ({ currentTarget }: { readonly currentTarget: { readonly value: string } }) =>
    onDraft(new Map([...draft, [key, currentTarget.value]]))
  return (
    <div class={mine.length > 0 ? "field wrong" : "field"}>
      <label for={id}>
        {name}
        {!isOptional && !isReadonly && <span class="quiet"> required</span>}
        {isReadonly && <span class="quiet"> read only</span>}
      </label>
      {toggle}
      {isReadonly ? (
        <output id={id} class="value" aria-describedby={describedBy}>
          {text === undefined ? "none" : text}
        </output>
      ) : isSecret && kind === "text" ? (
        <input {...shared} type="password" autocomplete="new-password" value={text ?? ""} onInput={write} />
      ) : kind === "choice" || kind === "boolean" ? (
        <select {...shared} value={text ?? ""} onChange={write}>
          {text === undefined && <option value="">none</option>}
          {(kind === "boolean" ? [true, false] : field.options).map((option) => (
            <option value={JSON.stringify(option)}>{asText(option)}</option>
          ))}
        </select>
      ) : kind === "json" || isLong ? (
        <textarea
          {...shared}
          rows={Math.min(16, Math.max(3, (text ?? "").split("\n").length))}
          class={kind === "json" ? "code" : undefined}
          spellcheck={kind !== "json"}
          value={text ?? ""}
          onInput={write}
        />
      ) : (
        <input
          {...shared}
          type="text"
          inputMode={kind === "number" ? (field.isInteger ? "numeric" : "decimal") : "text"}
          autocomplete="off"
          value={text ?? ""}
          onInput={write}
        />
      )}
      {told}
    </div>
  )
}
