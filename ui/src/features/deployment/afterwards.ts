/** What still makes sense of a deployment that has ended: going back from what it brought, or going once more to what it did not bring. */
interface Ended {
  kind: string;
  status: string;
  from_version: string | null;
  to_version: string;
}

/** `back`: from what serves, to one of its rollback points. `forward`: to this version, by an upgrade. */
export type Afterwards = { verb: "back" } | { verb: "forward"; version: string } | null;

/** `current` is what serves now; once something else has come since, nothing of this is left to be done. */
export function afterwards(
  { kind, status, from_version: from, to_version: to }: Ended,
  current: string | null,
): Afterwards {
  const serves = current === to;
  const brought = status === "completed";
  if (kind === "upgrade") {
    if (brought) return serves ? { verb: "back" } : null;
    return serves ? null : { verb: "forward", version: to };
  }
  if (kind === "rollback") {
    if (!brought) return serves ? null : { verb: "back" };
    return serves && from && from !== to ? { verb: "forward", version: from } : null;
  }
  return null;
}
