/** A dialog over the page: the browser keeps the focus in it, and whoever opened it has it back. */
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

export function Dialog(props: { label: string; onClose: () => void; children: ComponentChildren }) {
  const self = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const dialog = self.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      // The browser gives the focus back only from a dialog that is still there.
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
    };
  }, []);
  return (
    // A click beside the dialog is a shortcut: Escape and the button do the same by keyboard.
    // biome-ignore lint/a11y/useKeyWithClickEvents: as above
    <dialog
      ref={self}
      class="dialog"
      aria-label={props.label}
      onClose={props.onClose}
      onClick={(event) => {
        if (event.target === self.current) props.onClose();
      }}
    >
      <div class="dialog-body">
        <button type="button" class="round close" onClick={props.onClose} aria-label="Close">
          <span aria-hidden="true">✕</span>
        </button>
        {props.children}
      </div>
    </dialog>
  );
}
