/** The frame around every page. */
import type { ComponentType } from "preact";
import { useEffect, useErrorBoundary } from "preact/hooks";
import { ForYou } from "./pages/for-you";
import { Interactions } from "./pages/interactions";
import { Lost } from "./pages/lost";
import { Stylist } from "./pages/stylist";
import { UnderTheHood } from "./pages/under-the-hood";
import { Fault } from "./parts/fault";
import { Header } from "./parts/header";
import { Quiet } from "./parts/quiet";
import { PAGES, path } from "./route";
import { configFailure, loadConfig } from "./shop";

const ROOMS: Record<string, ComponentType> = {
  "/": ForYou,
  "/stylist": Stylist,
  "/interactions": Interactions,
  "/under-the-hood": UnderTheHood,
};

export function App() {
  const page = PAGES.find((each) => each.path === path.value);
  const Room = Object.hasOwn(ROOMS, path.value) ? ROOMS[path.value] : undefined;
  const [broken, mend] = useErrorBoundary();
  useEffect(() => {
    document.title = page ? `${page.name} · Hemline` : "Not here · Hemline";
  }, [page]);
  return (
    <>
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <Header />
      <main id="content" tabIndex={-1}>
        {broken ? (
          <Fault title="This page has a fault" failure={null} retry={mend} />
        ) : configFailure.value ? (
          <Fault title="The shop is not open yet" failure={configFailure.value} retry={() => void loadConfig()} />
        ) : Room ? (
          <Room />
        ) : (
          <Lost />
        )}
      </main>
      <footer class="foot">
        <p>
          <span class="mark">Hemline</span> Lists made for the person who looks at them.
        </p>
      </footer>
      <Quiet />
    </>
  );
}
