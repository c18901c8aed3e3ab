"""A training pauses while a question is answered, but not for ever, and not for a question that died."""

import os
import signal
import threading
import time

import pytest
import torch
from torch import nn

from orfila_engine.layerwise import at_each_layer
from orfila_worker import precedence
from orfila_worker.precedence import Precedence


def test_background_work_waits_for_a_question_and_goes_on_after_it(tmp_path):
    question, training = Precedence(tmp_path), Precedence(tmp_path)
    began = time.monotonic()
    training.give_way()
    assert time.monotonic() - began < 0.2, "nobody asks"
    went_on = []
    with question.take():
        thread = threading.Thread(target=lambda: (training.give_way(), went_on.append(time.monotonic())))
        thread.start()
        time.sleep(0.3)
        assert went_on == []
        ended = time.monotonic()
    thread.join(5)
    assert went_on[0] >= ended


def test_two_questions_at_once_do_not_wait_for_each_other(tmp_path):
    first, second, training = (Precedence(tmp_path) for _ in range(3))
    with first.take(), second.take():
        pass
    with first.take():
        with second.take():
            pass
        assert training._is_asked(), "one of them is left"
    assert not training._is_asked()


def test_a_pause_is_short_and_some_work_follows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(precedence, "PAUSE_SECONDS", 0.8)
    question, training = Precedence(tmp_path), Precedence(tmp_path)
    with question.take():
        began = time.monotonic()
        training.give_way()
        assert 0.8 <= time.monotonic() - began < 3
        again = time.monotonic()
        training.give_way()
        assert time.monotonic() - again < 0.15, "it has just paused"
        time.sleep(0.25)
        again = time.monotonic()
        training.give_way()
        assert time.monotonic() - again >= 0.8


def test_a_training_stops_in_the_middle_of_a_step(tmp_path):
    question, training = Precedence(tmp_path), Precedence(tmp_path)
    passed = []

    class Slow(nn.Module):
        def forward(self, x):
            time.sleep(0.05)
            passed.append(time.monotonic())
            return x

    model = nn.Sequential(*(Slow() for _ in range(10)))

    def step():
        with at_each_layer(model, training.give_way):
            model(torch.zeros(1))

    thread = threading.Thread(target=step)
    with question.take():
        thread.start()
        time.sleep(0.8)
        assert len(passed) == 1
    thread.join(10)
    assert len(passed) == 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_who_dies_while_asking_holds_nobody_up(tmp_path):
    training = Precedence(tmp_path)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        with Precedence(tmp_path).take():
            os.write(writing, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(reading, 1)
    assert training._is_asked()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not training._is_asked()
