// Elements of the page. Texts come from plugins, so they only ever become text, never markup.

export const $ = (id) => document.getElementById(id);

export function element(name, properties, ...children) {
	const e = Object.assign(document.createElement(name), properties);
	e.append(...children.filter((c) => c !== undefined && c !== null));
	return e;
}

export function setText(e, text) {
	if (e.textContent !== text) e.textContent = text;
}

// table shows rows in a table. A cell is a text or an element; a column that begins with "#" has numbers. Cells whose text stays the same are left alone,
// so that a selection, the focus and a screen reader stay where they are.
export function table(t, columns, rows) {
	if (t.dataset.columns !== columns.join()) {
		t.dataset.columns = columns.join();
		const head = element("tr", {});
		for (const c of columns) head.append(element("th", {className: c.startsWith("#") ? "n" : "", scope: "col", textContent: c.replace("#", "")}));
		t.replaceChildren(element("thead", {}, head), element("tbody", {}));
	}
	const body = t.tBodies[0];
	while (body.rows.length > rows.length) body.deleteRow(-1);
	rows.forEach((row, i) => {
		const tr = body.rows[i] ?? body.insertRow();
		row.forEach((cell, j) => {
			const td = tr.cells[j] ?? tr.insertCell();
			const kind = columns[j].startsWith("#") ? "n" : columns[j] === "item" || columns[j] === "message" ? "text" : "";
			if (td.className !== kind) td.className = kind;
			if (cell instanceof Node) {
				if (td.dataset.key !== cell.dataset.key || !cell.dataset.key) {
					td.dataset.key = cell.dataset.key ?? "";
					td.replaceChildren(cell);
				}
			} else {
				delete td.dataset.key;
				setText(td, String(cell));
			}
		});
	});
}
