/** Whether this device has pictures for emoji; without them they are empty boxes. */
let known: boolean | null = null;

export function drawsEmoji(): boolean {
  known ??= measured();
  return known;
}

function measured(): boolean {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [24, 24];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return true;
  context.font = "18px sans-serif";
  context.fillText("👗", 0, 20);
  const { data } = context.getImageData(0, 0, 24, 24);
  // A picture has colours; a box for want of one is black.
  return data.some((value, at) => at % 4 !== 3 && value !== 0);
}
