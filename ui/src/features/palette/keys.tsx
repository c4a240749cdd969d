/** Listens for the keys of the whole page, and has a button for whoever does not know them. */
import { ActionIcon } from "@mantine/core";
import { lazy, Suspense, useEffect, useState } from "react";
import { Icon } from "../../components/icons";
import { keyOf } from "./match";
import { useSingleKeys } from "./single-keys";

const Palette = lazy(() => import("./palette").then(({ Palette }) => ({ default: Palette })));
const Help = lazy(() => import("./palette").then(({ Help }) => ({ default: Help })));

/** Where keys are letters; the last is the editor. */
const TYPED = "input, textarea, select, [contenteditable]";

export function Keys() {
  const [open, setOpen] = useState<"palette" | "help" | null>(null);
  const [single] = useSingleKeys();
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && Boolean(event.target.closest(TYPED));
      const key = keyOf(event, typing || !single);
      if (!key) return;
      event.preventDefault();
      setOpen(key);
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, [single]);
  return (
    <>
      <ActionIcon
        variant="subtle"
        size="lg"
        color="gray"
        aria-label="Go to a page or an agent"
        aria-keyshortcuts="Control+K Meta+K"
        onClick={() => setOpen("palette")}
      >
        <Icon name="search" />
      </ActionIcon>
      <Suspense>
        {open === "palette" && <Palette onHelp={() => setOpen("help")} onClose={() => setOpen(null)} />}
        {open === "help" && <Help onClose={() => setOpen(null)} />}
      </Suspense>
    </>
  );
}
