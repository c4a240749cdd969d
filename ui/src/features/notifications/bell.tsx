/** How many notifications nobody here has read: live, in the head of every page. */
import { ActionIcon } from "@mantine/core";
import { lazy, Suspense, useState } from "react";
import { api } from "../../api/client";
import { usePolling } from "../../app/polling";
import { Icon } from "../../components/icons";

const Tray = lazy(() => import("./tray").then(({ Tray }) => ({ default: Tray })));

export function Bell() {
  const [open, setOpen] = useState(false);
  const refetchInterval = usePolling(30_000);
  const found = api.useQuery(
    "get",
    "/api/platform/notifications",
    { params: { query: { limit: 1, unread: true } } },
    { refetchInterval },
  );
  const unread = found.data?.unread_count ?? 0;
  return (
    <>
      <ActionIcon
        variant="subtle"
        size="lg"
        color="gray"
        aria-label={unread ? `Notifications, ${unread} not read` : "Notifications"}
        onClick={() => setOpen(true)}
      >
        <span className="bell">
          <Icon name="bell" />
          {unread > 0 && <span className="bell-count">{unread > 99 ? "99+" : unread}</span>}
        </span>
      </ActionIcon>
      {open && (
        <Suspense>
          <Tray onClose={() => setOpen(false)} />
        </Suspense>
      )}
    </>
  );
}
