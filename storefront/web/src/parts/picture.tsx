/** An article's photograph where the shop has one, else its drawn tile. */
import { useState } from "preact/hooks";
import type { Drawn } from "../garments/tile";
import { Tile } from "../garments/tile";
import { config } from "../shop";

/** Photographs that the shop does not have: asked for once. */
const missing = new Set<string>();

export function Picture({ article }: { article: Drawn }) {
  const [, again] = useState(0);
  const template = config.value?.images;
  const id = article.article_id;
  if (!template || missing.has(id)) return <Tile article={article} />;
  const address = template
    .replaceAll("{article_id}", encodeURIComponent(id))
    .replaceAll("{prefix}", encodeURIComponent(id.slice(0, 3)));
  const draw = () => {
    missing.add(id);
    again((times) => times + 1);
  };
  return (
    <img class="tile" src={address} alt="" loading="lazy" decoding="async" width={200} height={240} onError={draw} />
  );
}
