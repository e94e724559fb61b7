# %% [markdown]
# # From a device to a report
#
# A search finds the network with the best QE-Score that a device can run under a budget, and proves that there is no
# better one. The export writes the graph that the device's runtime executes and checks it against PyTorch; the
# benchmark says what that very file takes, layer by layer.
#
# This is a script in jupytext's percent format: `python examples/search_to_report.py` runs it, and
# `jupytext --to notebook examples/search_to_report.py` makes a notebook of it.

# %%
from pathlib import Path

from qedeploy import api

folder = Path("search-to-report")

# %% [markdown]
# ## What there is
# A profile says which bit widths the layers of a network may have on a device, and what each is lowered to.

# %%
for profile in api.profiles():
    print(f"{profile.name:10} {profile.device}")

# %% [markdown]
# ## Search
# Small enough to be through at once: images of 64 pixels, and so few operations. Without a folder nothing is written.

# %%
found = api.search("cpu-int8", "k1dwk1-mcu", budgets={"bitops": "400M"}, resolution=64, folder=folder, progress=print)
print(f"score {found.score:.2f}, {found.certificate.status}: none scores above {found.certificate.upper_bound:.2f}")
for name, cost in found.costs.items():
    print(f"{name:16} {cost:,.0f}")

# %% [markdown]
# The claim can be checked by a second route, which shares no code with the search: score, costs, bound, and files.

# %%
checks = api.verify(folder)
assert all(check.holds for check in checks)
print(f"all {len(checks)} claims hold")

# %% [markdown]
# How does the score compare with that of a published model?

# %%
for structure, name in [(found.structure, "found"), (api.models()[-1].structure, api.models()[-1].name)]:
    report = api.score(structure, resolution=64, name=name)
    print(f"{name:10} {report.score:8.2f} at {report.costs.bitops / 1e9:.2f} GBitOps")

# %% [markdown]
# ## Export
# `found.model` is a PyTorch network with initialised weights. Train it, or export it as it is: latency does not depend
# on the weights.

# %%
exported = api.export(found.model, folder / "model.onnx")
checked = exported.comparison
print(f"{checked.differing} of {checked.values:,} integers differ from PyTorch's, in {checked.runtime}")

# %% [markdown]
# Where the runtime builds something of the graph, as TensorRT does, it is built here.

# %%
built = api.build_artefact(exported)
print(built.path)

# %% [markdown]
# ## Bench
# bench.json and report.html lie in the folder afterwards; the values are here.

# %%
measured = api.bench(built.path, seconds=0.3, folder=folder, progress=print)
result = measured.result
print(f"median {result.summary.median * 1e3:.2f} ms on {result.machine.cpu}")
for row in sorted(result.profiled.layers, key=lambda row: -row.seconds)[:5]:
    print(f"{row.name:26} {row.seconds * 1e6:7.1f} us, {row.share:.0%}")
for text in (*result.findings, *result.warnings):
    print(f"- {text}")
print(f"the report: {measured.written.report}")
