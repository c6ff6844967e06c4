import { Link } from "../parts/link";

export function Lost() {
  return (
    <section class="fault" aria-labelledby="lost">
      <h1 id="lost">Nothing hangs here</h1>
      <p>There is no such page in this shop.</p>
      <Link class="button" to="/">
        To your list
      </Link>
    </section>
  );
}
