import json


def junit(db, path):
    path.write_text("<testsuites/>")


def summary(db, v):
    return str(v.verdict)


def html(db, v, path):
    path.write_text(str(v.verdict))


def as_json(db, v):
    return b"{}"


def annotations(db, v, root):
    return []


def terminal(v, db, *, color, width):
    out = [str(v.verdict)]
    for n, g in v.gates.items():
        if g.verdict:
            out.append(f"{n}: {g.verdict} {g.counts}")
        for r in g.reasons:
            out.append("  " + r.code + ": " + r.text)
            out += ["    " + s[:150] for s in r.subjects[:5]]
    for r in (*v.reasons, *v.notices):
        out.append(r.code + ": " + r.text)
        out += ["    " + s[:150] for s in r.subjects[:5]]
    return "\n".join(out)
