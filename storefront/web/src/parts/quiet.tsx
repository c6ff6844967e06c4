/** Quiet messages at the foot of the window. */
import { events, eventsWait, toast } from "../shop";

export function Quiet() {
  const waits = eventsWait.value;
  return (
    <div class="quiet">
      {waits && (
        <p class="toast waits">
          {waits.waiting === 1 ? "One thing you did is" : `${waits.waiting} things you did are`} not yet known to the
          shop; it is told again soon.
          <button type="button" onClick={() => events.flush().catch(() => undefined)}>
            Now
          </button>
        </p>
      )}
      <div role="status" aria-live="polite" data-testid="toast">
        {toast.value && (
          <p class="toast" key={toast.value.id} dir="auto">
            {toast.value.text}
          </p>
        )}
      </div>
    </div>
  );
}
