/** Our own few icons, drawn on 20 by 20. */
const PATHS = {
  dashboard: "M3 3h6v8H3zM11 3h6v5h-6zM11 10h6v7h-6zM3 13h6v4H3z",
  agents: "M4 5h12v6H4zM7 15h6M10 11v4M7.5 8h.1M12.5 8h.1",
  audit: "M5 3h10v14H5zM7.5 7h5M7.5 10h5M7.5 13h3",
  deployments: "M3 6h9M9 3l3 3-3 3M17 14H8M11 11l-3 3 3 3",
  operations: "M10 3a7 7 0 107 7M10 6v4l2.5 1.5M17 3v4h-4",
  bell: "M5 14V9a5 5 0 0110 0v5l1.5 1.5h-13zM8.5 17.5h3",
  search: "M9 3.5a5.5 5.5 0 100 11 5.5 5.5 0 000-11zM13 13l4 4",
  settings: "M3 6h8M15 6h2M3 14h2M9 14h8M13 4v4M7 12v4",
  sun: "M10 6.5a3.5 3.5 0 100 7 3.5 3.5 0 000-7zM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6L16 16M4 16l1.4-1.4M14.6 5.4L16 4",
  moon: "M16 12.5A7 7 0 017.5 4 6.5 6.5 0 1016 12.5z",
  leave: "M8 4H4v12h4M12 6.5l3.5 3.5-3.5 3.5M15 10H8",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg
      width="20"
      height="20"
      viewBox="0 0 20 20"
      aria-hidden="true"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
