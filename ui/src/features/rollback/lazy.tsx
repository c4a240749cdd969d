/** The rollback dialog, brought when it is opened: the first page does not wait for it. */
import { type ComponentProps, lazy, Suspense } from "react";
import type { RollbackDialog as Real } from "./rollback-dialog";

const Brought = lazy(() => import("./rollback-dialog").then(({ RollbackDialog }) => ({ default: RollbackDialog })));

export function RollbackDialog(props: ComponentProps<typeof Real>) {
  return (
    <Suspense>
      <Brought {...props} />
    </Suspense>
  );
}
