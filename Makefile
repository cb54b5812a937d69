# `make demo` and `make test` do everything, installation included.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo walk test test-tfio lint bench clean

# Installed again when the dependencies change. The demo needs no extra.
$(VENV)/base: setup.cfg setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/installed: $(VENV)/base
	$(BIN)/pip install --quiet --editable ".[dev,onnx,serve,tflite]"
	touch $@

# From a corpus to transcripts with the commands of a user; `make clean` deletes the results.
demo: $(VENV)/base
	$(BIN)/tfvoice_convert --corpus=vctk --input=tests/data/asterisk --output=demo/records --split_by=text --split=88/4/8
	$(BIN)/tfvoice_train --model=wavenet_asr --config=wavenet_asr_demo --data=demo/records --run=demo/run
	$(BIN)/tfvoice_eval --run=demo/run --split=test --worst=0
	$(BIN)/python tests/demo.py demo

# Two parts at a time, because most of a test is tracing in Python on one core; the tests of a file share fixtures. Each part
# in a process of its own, because one that has run many graphs is large; a failure in one part does not skip the others.
PARTS := 24
run_tests = seq $(PARTS) | xargs -P 2 -I{} sh -c 'printed=$$($(1) --part={}/$(PARTS) 2>&1); status=$$?; \
  printf "part {}/$(PARTS): %s\n" "$$printed"; exit $$status'

test: $(VENV)/installed
	@$(call run_tests,$(BIN)/python -m pytest tests)

# The second stack: TensorFlow 2.16.2 with tensorflow-io; Python 3.10 to 3.12. Tests of the source text run once.
.venv-tfio/installed: setup.cfg setup.py
	$(PYTHON) -m venv .venv-tfio
	.venv-tfio/bin/pip install --quiet --editable ".[tfio,dev]"
	touch $@

test-tfio: .venv-tfio/installed
	@$(call run_tests,.venv-tfio/bin/python -m pytest tests --ignore=tests/test_architecture.py)

# What each version of Python must do, in five minutes: installation, imports, every --help, and from a corpus to a
# transcript: make walk PYTHON=python3.13 VENV=.venv-3.13
walk: $(VENV)/base
	$(BIN)/pip check
	$(BIN)/python -c "import tfvoice; [getattr(tfvoice, name) for name in tfvoice.__all__]"
	for command in bin/*; do $(BIN)/$${command#bin/} --help > /dev/null || exit 1; done
	rm -rf $(VENV)/walk
	$(BIN)/tfvoice_convert --corpus=vctk --input=tests/data/asterisk --output=$(VENV)/walk/records --split_by=text --split=88/4/8
	$(BIN)/tfvoice_train --model=wavenet_asr --config=wavenet_asr_demo --data=$(VENV)/walk/records --run=$(VENV)/walk/run --set=training.epochs=1
	$(BIN)/tfvoice_tune_lm --run=$(VENV)/walk/run --lm=tests/data/language_model/words.arpa --utterances=5
	$(BIN)/tfvoice_eval --run=$(VENV)/walk/run --split=test --worst=0 --decoder=lm
	$(BIN)/tfvoice_transcribe --run=$(VENV)/walk/run tests/data/asterisk/wav48/p900/p900_001.opus

lint: $(VENV)/installed
	$(BIN)/ruff check tfvoice tests bin setup.py
	$(BIN)/ruff format --check tfvoice tests bin setup.py

bench: $(VENV)/installed
	$(BIN)/python tests/benchmarks/run.py

clean:
	rm -rf .venv* demo build
