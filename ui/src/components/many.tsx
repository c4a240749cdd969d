/** Several names in one field: chosen from what there is, or typed. None means all, and the field says so. */
import { TagsInput } from "@mantine/core";
import { api } from "../api/client";

interface Props {
  label: string;
  description?: string;
  required?: boolean;
  value: string[];
  onChange: (names: string[]) => void;
}

export function Many({ data, ...field }: Props & { data: string[] }) {
  return <TagsInput {...field} data={data} acceptValueOnBlur splitChars={[",", " ", ";"]} />;
}

/** Agents by name. More than the first few hundred are not suggested, but can be typed. */
export function Agents({
  label = "Agents",
  description = "None: all agents",
  ...field
}: Partial<Props> & Omit<Props, "label">) {
  const agents = api.useQuery("get", "/api/platform/agents", { params: { query: { limit: 200 } } });
  return (
    <Many
      {...field}
      label={label}
      description={description}
      data={(agents.data?.agents ?? []).map((agent) => agent.agent_id)}
    />
  );
}
