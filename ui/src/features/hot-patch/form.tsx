/** The configuration as fields: what each is for, its unit and range, and why one cannot be changed as things are. */
import { JsonInput, NumberInput, PasswordInput, Select, Stack, Switch, Text, Textarea, TextInput } from "@mantine/core";
import { useState } from "react";
import type { Wrong } from "../../components/code/editor";
import { isTable, same, type Values } from "../../lib/lines";
import { at, put, type Secret } from "./document";
import { type Field, type FieldGroup, lockOf } from "./fields";
import type { Options } from "./options";

interface Props {
  groups: FieldGroup[];
  base: Values;
  doc: Values;
  secrets: Record<string, Secret>;
  wrong: Wrong[];
  reload: string;
  options: Options;
  onChange: (doc: Values) => void;
  onSecret: (field: Field, value: string) => void;
  onUnreadable: (key: string, why: string) => void;
}

export function Form({ groups, ...props }: Props) {
  return (
    <Stack gap="lg">
      {groups.map((group) => (
        <fieldset key={group.title} className="fields">
          {group.title && <legend className={group.title.includes(" ") ? undefined : "mono"}>{group.title}</legend>}
          {group.description && (
            <Text size="sm" c="dimmed" mb="xs">
              {group.description}
            </Text>
          )}
          <Stack gap="md">
            {group.fields.map((field) => (
              <One key={field.key} field={field} {...props} />
            ))}
          </Stack>
        </fieldset>
      ))}
    </Stack>
  );
}

const LATER: Record<string, string> = {
  restart: "Takes effect by a restart.",
  "next-conversation": "Takes effect in conversations that begin from now on.",
};

function One({
  field,
  base,
  doc,
  secrets,
  wrong,
  reload,
  options,
  onChange,
  onSecret,
  onUnreadable,
}: Omit<Props, "groups"> & { field: Field }) {
  const [undone, setUndone] = useState(0);
  const value = at(doc, field.path);
  const before = at(base, field.path);
  const changed = !same(value, before) || field.key in secrets;
  const lock = changed ? "" : lockOf(field, { reload, restart: options.restart, places: options.reach === "chosen" });
  const errors = wrong.filter((each) => each.path === field.key || each.path.startsWith(`${field.key}.`));
  const undo = () => {
    onChange(put(doc, field.path, before));
    if (field.kind === "secret") onSecret(field, "");
    onUnreadable(field.key, "");
    setUndone(undone + 1);
  };
  return (
    <div className="field" data-changed={changed || undefined}>
      <Control
        key={undone}
        field={field}
        value={value}
        onChange={(next) => onChange(put(doc, field.path, next))}
        onSecret={(next) => onSecret(field, next)}
        onUnreadable={(why) => onUnreadable(field.key, why)}
        looks={{
          id: `field-${field.key}`,
          label: field.title ? `${field.title} (${field.key})` : field.key,
          description: [
            field.description,
            field.range && `${field.range}${field.unit ? ` ${field.unit}` : ""}.`,
            lock || LATER[field.scope],
          ]
            .filter(Boolean)
            .join(" "),
          error: errors.map((each) => each.message).join(" ") || undefined,
          disabled: Boolean(lock),
        }}
      />
      {changed && (
        <button type="button" className="link" onClick={undo}>
          Undo {field.key}
          {field.kind !== "secret" && `: ${before === undefined ? "not set" : JSON.stringify(before)}`}
        </button>
      )}
    </div>
  );
}

interface ControlProps {
  field: Field;
  value: unknown;
  onChange: (value: unknown) => void;
  onSecret: (value: string) => void;
  onUnreadable: (why: string) => void;
  looks: { id: string; label: string; description: string; error?: string; disabled: boolean };
}

function Control({ field, value, onChange, onSecret, onUnreadable, looks }: ControlProps) {
  const nothing = field.fallback === undefined ? "not set" : `not set, else ${JSON.stringify(field.fallback)}`;
  switch (field.kind) {
    case "secret":
      // What is typed is kept beside the page, never in it: an input that React controls would write its value into the document.
      return (
        <PasswordInput
          {...looks}
          autoComplete="new-password"
          placeholder={
            isTable(value) || value ? "set; type a new value, or secret:NAME" : "not set; a value, or secret:NAME"
          }
          onChange={(event) => onSecret(event.currentTarget.value)}
        />
      );
    case "switch":
      return (
        <Switch
          {...looks}
          checked={Boolean(value ?? field.fallback)}
          onChange={(event) => onChange(event.currentTarget.checked)}
        />
      );
    case "integer":
    case "number":
      return (
        <NumberInput
          {...looks}
          hideControls
          clampBehavior="none"
          allowDecimal={field.kind === "number"}
          value={typeof value === "number" ? value : ""}
          placeholder={nothing}
          rightSection={field.unit ? <span className="unit">{field.unit}</span> : undefined}
          rightSectionWidth={72}
          onChange={(next) => onChange(next === "" ? undefined : Number(next))}
        />
      );
    case "choice":
      return (
        <Select
          {...looks}
          data={field.choices}
          value={typeof value === "string" ? value : null}
          placeholder={nothing}
          onChange={(next) => onChange(next ?? undefined)}
          clearable={value !== undefined}
          clearButtonProps={{ "aria-label": `Take ${field.key} out` }}
        />
      );
    case "text": {
      const text = typeof value === "string" ? value : "";
      const props = {
        ...looks,
        value: text,
        placeholder: nothing,
        onChange: (event: { currentTarget: { value: string } }) => onChange(event.currentTarget.value),
      };
      return text.length > 80 || text.includes("\n") ? (
        <Textarea {...props} autosize maxRows={12} />
      ) : (
        <TextInput {...props} />
      );
    }
    default:
      return <Json looks={looks} initial={value} onChange={onChange} onUnreadable={onUnreadable} />;
  }
}

function Json({
  looks,
  initial,
  onChange,
  onUnreadable,
}: Pick<ControlProps, "looks" | "onChange" | "onUnreadable"> & { initial: unknown }) {
  const [text, setText] = useState(initial === undefined ? "" : JSON.stringify(initial));
  const change = (next: string) => {
    setText(next);
    try {
      onChange(next.trim() ? JSON.parse(next) : undefined);
      onUnreadable("");
    } catch {
      onUnreadable("is no JSON yet");
    }
  };
  return <JsonInput {...looks} value={text} onChange={change} placeholder="not set" autosize />;
}
