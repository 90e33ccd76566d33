# Features Without Labels. `make help` lists the targets.
.DEFAULT_GOAL := help
.PHONY: help book pdf test serve notebooks readme format lock bench clean assignments record grade quizzes slides offline-kit adopt check-links test-jax test-torch test-keras-3.13

# the newest Python of the supported ones that really starts: a shim of a version manager may not
ifndef PYTHON
PYTHON := $(firstword $(shell for p in python3.13 python3.12 python3.11 python3; do $$p -c "" 2>/dev/null && command -v $$p; done))
endif
VENV ?= .venv
EXTRAS ?= tensorflow book teaching test
RUN = $(VENV)/bin/python
# uv is taken from PATH, else fetched by pip into a folder of its own
UV = $(firstword $(shell command -v uv) .venv-uv/bin/uv)
export UV_PROJECT_ENVIRONMENT = $(VENV)
export UV_PYTHON = $(PYTHON)
# importing Keras then takes a third of the time, in every chapter and test
export UV_COMPILE_BYTECODE = 1
# the tests ask for uv too
export PATH := $(PATH):$(CURDIR)/.venv-uv/bin

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

book: $(VENV)/installed  ## run the chapters that changed and build the site into _build/html
	@$(RUN) book/build.py

pdf: book  ## print the book into _build/features-without-labels.pdf; needs Chromium
	@$(RUN) book/pdf.py

# tests of what `make book` made
OF_THE_BOOK = tests/test_claims.py tests/test_readme.py tests/test_site.py tests/test_slides.py

test: export COURSE_PROFILE = quick
test: export KERAS_BACKEND = tensorflow
test: $(VENV)/installed  ## everything that CI checks
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m pytest $(addprefix --ignore=,$(OF_THE_BOOK))
	@$(MAKE) --no-print-directory test-older-keras
	@$(RUN) book/build.py
	@$(RUN) -m pytest $(OF_THE_BOOK)

notebooks: $(VENV)/installed  ## run the chapters that changed, without building the site
	@$(RUN) book/build.py --notebooks-only

serve: book  ## build the book and serve it on http://localhost:8000
	@$(RUN) -m http.server 8000 --bind 127.0.0.1 --directory _build/html

readme: export COURSE_PROFILE = quick
readme: export KERAS_BACKEND = tensorflow
readme: book  ## write the README's results table and picture from the results store
	@$(RUN) book/readme.py

format: $(VENV)/installed  ## format code and notebooks, strip the notebooks' outputs
	@$(RUN) -m ruff check --fix-only --quiet .
	@$(RUN) -m ruff format .
	@$(RUN) -m nbstripout --keep-id --extra-keys "metadata.widgets metadata.colab metadata.accelerator" notebooks/*.ipynb notebooks/assignments/*.ipynb

# the tools for instructors; each module says what it does with --help
TEACH = PYTHONPATH=book $(RUN) -m teaching
CLASS_SEED ?= 0

assignments: $(VENV)/installed  ## student, solution and grader editions of the assignments for CLASS_SEED=0
	@$(TEACH).assign --class-seed $(CLASS_SEED)

grade: $(VENV)/installed  ## grade the notebooks in SUBMISSIONS=folder: points as CSV, a feedback page per student
	@$(TEACH).grade "$(SUBMISSIONS)" --class-seed $(CLASS_SEED)

quizzes: $(VENV)/installed  ## write the quizzes into the chapters, and as QTI for Canvas and Moodle
	@$(TEACH).quizzes $(if $(filter-out 0,$(CLASS_SEED)),--seed $(CLASS_SEED))

record: $(VENV)/installed  ## run the full profile and keep its results in data/results; CHAPTERS="few-labels ..." for some
	@$(RUN) book/record.py $(CHAPTERS)

slides: $(VENV)/installed  ## slides of every chapter from its executed notebook
	@$(TEACH).slides

offline-kit: $(VENV)/installed  ## one folder for a classroom without a network; WEIGHTS=folder adds weights, KIT=--help lists options
	@$(TEACH).kit --class-seed $(CLASS_SEED) $(if $(WEIGHTS),--weights "$(WEIGHTS)") $(KIT)

adopt:  ## after forking: write the address REPO=owner/name, SITE=https://... into everything
	@$(PYTHON) book/address.py "$(REPO)" $(if $(SITE),--site "$(SITE)")

check-links: $(VENV)/installed  ## ask every address in the book and the README whether it answers
	@$(TEACH).links

lock: | $(UV)  ## resolve the newest versions into uv.lock
	@$(UV) lock --upgrade

# on another back-end: `python -m tests.bench` with the Python of its environment; who is absent is listed
bench:  ## time the statistics against their peers; BENCH=--record keeps the run for the book, BENCH=--help lists more
	@$(MAKE) --no-print-directory run-bench VENV=.venv-bench EXTRAS="tensorflow bench"

run-bench: $(VENV)/installed
	@$(RUN) -m tests.bench $(BENCH)

test-jax:  ## models and chapters with JAX as Keras' back-end
	@KERAS_BACKEND=jax $(MAKE) --no-print-directory test-backend VENV=.venv-jax EXTRAS="jax book test"

test-torch:  ## models and chapters with Torch as Keras' back-end
	@KERAS_BACKEND=torch $(MAKE) --no-print-directory test-backend VENV=.venv-torch EXTRAS="book test" EXTRA_PACKAGES=torch

test-keras-3.13:  ## models and chapters with Colab's Keras
	@$(MAKE) --no-print-directory test-backend VENV=.venv-keras-3.13 EXTRA_PACKAGES="keras==3.13.*"

# what computes with Keras; the rest depends neither on the back-end nor on the version
KERAS_TESTS = $(addprefix tests/test_,$(addsuffix .py,augment backbones chapter_models determinism features fine_tuning layers losses \
  networks pair_losses patch_mask pretraining runtime scorecard weights widgets))

test-backend: $(VENV)/installed
	@$(RUN) -m pytest $(KERAS_TESTS)
	@$(RUN) book/build.py --notebooks-only

# Colab's Keras laid over the environment's, in minutes: the two reduce some losses differently, and both must pass
OLDER_KERAS = $(VENV)/keras-3.13

$(OLDER_KERAS)/installed: $(VENV)/installed | $(UV)
	@rm -rf $(@D)
	@$(UV) pip install --quiet --no-deps --python $(VENV) --target $(@D) "keras==3.13.2"
	@touch $@

test-older-keras: export PYTHONPATH = $(abspath $(OLDER_KERAS))
test-older-keras: $(OLDER_KERAS)/installed
	@$(RUN) -c "import keras; assert keras.__version__.startswith('3.13.'), f'Keras {keras.__version__} is used'"
	@$(RUN) -m pytest $(filter-out tests/test_determinism.py,$(KERAS_TESTS))

clean:  ## remove what was built and run; the environments stay
	rm -rf _build _runs dist .pytest_cache .ruff_cache .hypothesis

# the environment is made anew where another Python or other extras are asked for
WANTED = $(strip $(PYTHON) $(EXTRAS) $(EXTRA_PACKAGES))
ifneq ($(WANTED),$(shell cat $(VENV)/installed 2>/dev/null))
CHANGED = always
endif
always:
$(VENV)/installed: uv.lock pyproject.toml $(CHANGED) | $(UV)
	@$(UV) sync --locked --quiet $(foreach extra,$(EXTRAS),--extra $(extra))
	@$(if $(EXTRA_PACKAGES),$(UV) pip install --quiet --python $(VENV) $(foreach package,$(EXTRA_PACKAGES),"$(package)"))
	@echo $(WANTED) > $@

.venv-uv/bin/uv:
	@$(PYTHON) -m venv .venv-uv
	@.venv-uv/bin/pip install --quiet uv
