/** Choosing who shops: a combobox over customers' ids, the visitors of this browser, or somebody new. */
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { customers, type Failure, failureOf } from "../api/client";
import type { Customer } from "../api/shapes";
import { choose, shortId, visit, visitors } from "./shopper";

export function Chooser() {
  return (
    <div class="chooser">
      <CustomerBox />
      <span class="or" aria-hidden="true">
        or
      </span>
      <NewVisitor />
    </div>
  );
}

/** The customers whose ids begin with a text, a moment after it was typed. */
function useCustomers(text: string, open: boolean) {
  const [found, setFound] = useState<Customer[] | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  useEffect(() => {
    if (!open) return;
    const wanted = new AbortController();
    const timer = setTimeout(
      () => {
        customers(text.trim(), 12, { signal: wanted.signal, patience: 5_000 }).then(
          (answer) => {
            setFound(answer.customers);
            setFailure(null);
          },
          (thrown) => {
            const told = failureOf(thrown);
            if (told.code !== "aborted") setFailure(told);
          },
        );
      },
      text === "" ? 0 : 150,
    );
    return () => {
      clearTimeout(timer);
      wanted.abort();
    };
  }, [text, open]);
  return { found, failure };
}

function CustomerBox() {
  const id = useId();
  const [text, setText] = useState("");
  const [open, setOpen] = useState(false);
  const [at, setAt] = useState(-1);
  const list = useRef<HTMLUListElement>(null);
  const { found, failure } = useCustomers(text, open);
  const options = found ?? [];
  const current = options[at];

  useEffect(() => {
    list.current?.children[at]?.scrollIntoView({ block: "nearest" });
  }, [at]);

  const take = (customer: string) => {
    if (customer === "") return;
    setText("");
    setOpen(false);
    setAt(-1);
    choose(customer);
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const last = options.length - 1;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      setOpen(true);
      const step = event.key === "ArrowDown" ? 1 : -1;
      setAt(at < 0 && step < 0 ? last : Math.min(last, Math.max(0, at + step)));
    } else if (event.key === "Home" && open && at >= 0) setAt(0);
    else if (event.key === "End" && open && at >= 0) setAt(last);
    // Who is typed and not chosen is taken as typed: a shop may not list its customers.
    else if (event.key === "Enter") take(current?.customer_id ?? text.trim());
    else if (event.key === "Escape" && open) setOpen(false);
    else return;
    event.preventDefault();
  };

  return (
    <div class="combo">
      <label for={id}>Shop as a customer</label>
      <input
        id={id}
        role="combobox"
        type="text"
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        maxLength={256}
        placeholder="Beginning of an id"
        aria-expanded={open}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={open && current ? `${id}-${at}` : undefined}
        value={text}
        onFocus={() => setOpen(true)}
        onClick={() => setOpen(true)}
        onBlur={() => setOpen(false)}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setOpen(true);
          setAt(-1);
        }}
        onKeyDown={onKeyDown}
      />
      <ul
        id={`${id}-list`}
        ref={list}
        role="listbox"
        aria-label="Customers"
        class="options"
        hidden={!open || options.length === 0}
      >
        {options.map((customer, place) => (
          // Keys are the input's to hear: it keeps the focus while options are walked through.
          // biome-ignore lint/a11y/useKeyWithClickEvents: as above
          <li
            key={customer.customer_id}
            id={`${id}-${place}`}
            role="option"
            tabIndex={-1}
            aria-selected={place === at}
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => take(customer.customer_id)}
          >
            <code>{shortId(customer.customer_id)}</code>
            <span>{customer.age === null ? "age unknown" : `${Math.round(customer.age)} years`}</span>
            <span>{customer.purchases === 1 ? "1 purchase" : `${customer.purchases} purchases`}</span>
          </li>
        ))}
      </ul>
      <p class="fine" role="status">
        {open && failure
          ? failure.status === 403
            ? "This shop does not list its customers: type a whole id and press Enter."
            : failure.message
          : open && found && options.length === 0
            ? "No customer's id begins so. Enter takes it as it is."
            : ""}
      </p>
    </div>
  );
}

function NewVisitor() {
  const id = useId();
  const [age, setAge] = useState("");
  const enter = (event: Event) => {
    event.preventDefault();
    const years = Number(age);
    if (Number.isFinite(years) && years >= 1 && years <= 120) visit(years);
  };
  return (
    <form class="newcomer" onSubmit={enter}>
      <label for={id}>I am new here, and my age is</label>
      <div class="joined">
        <input
          id={id}
          type="number"
          inputMode="numeric"
          min={1}
          max={120}
          required
          placeholder="34"
          value={age}
          onInput={(event) => setAge(event.currentTarget.value)}
        />
        <button type="submit" class="button">
          Come in
        </button>
      </div>
      {visitors.value.length > 0 && (
        <p class="fine">
          Here before:{" "}
          {visitors.value.map(([visitor, years]) => (
            <button type="button" class="plain" key={visitor} onClick={() => choose(visitor)}>
              {shortId(visitor)} ({years})
            </button>
          ))}
        </p>
      )}
    </form>
  );
}
