/** The shop's sign, the way to its rooms, and who shops. */
import { PAGES, path } from "../route";
import { config } from "../shop";
import { shopper, shortId } from "../shopper/shopper";
import { nextTheme, theme } from "../theme";
import { Link } from "./link";

const NEXT = { device: "light", light: "dark", dark: "as your device" } as const;
const SIGN = { device: "◐", light: "☀", dark: "☾" } as const;

export function Header() {
  const person = shopper.value;
  const rooms = PAGES.filter((page) => page.path !== "/stylist" || config.value?.stylist !== false);
  return (
    <header class="head">
      <div class="head-row">
        <Link to="/" class="mark">
          Hemline
        </Link>
        <nav aria-label="Pages">
          <ul>
            {rooms.map((page) => (
              <li key={page.path}>
                <Link to={page.path} current={path.value === page.path}>
                  {page.name}
                </Link>
              </li>
            ))}
          </ul>
        </nav>
        <div class="head-end">
          {person && (
            <span class="who" title={person.id}>
              <span aria-hidden="true" class="who-dot" />
              <bdi>{person.visitor ? `visitor ${shortId(person.id)}` : shortId(person.id)}</bdi>
            </span>
          )}
          <button
            type="button"
            class="round"
            onClick={nextTheme}
            aria-label={`Colours: ${theme.value}. Change to ${NEXT[theme.value]}`}
          >
            <span aria-hidden="true">{SIGN[theme.value]}</span>
          </button>
        </div>
      </div>
    </header>
  );
}
