import { render } from "preact";
import { App } from "./app";
import { loadConfig } from "./shop";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/shop.css";
import "./styles/window.css";
import "./styles/stylist.css";
import "./styles/engine.css";
import { followTheme } from "./theme";

followTheme();
void loadConfig();
const root = document.getElementById("app");
if (root) render(<App />, root);
