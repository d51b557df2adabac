"""The crew's decisions, with workers that do what a script says."""

from collections import deque
from pathlib import Path, PurePath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_cli.batch.engines.base import Task
from mss_cli.batch.engines.crew import MOST_MACHINES, Crew, Died
from mss_cli.batch.engines.serving import Ended, Loaded, Refused
from mss_cli.batch.plan import Job
from mss_cli.errors import DeviceError, ExitCode, InputError, MemoryExhausted
from mss_cli.events import Warned

CRASH = Died("SIGSEGV")
OUT_OF_MEMORY = Died("SIGKILL", memory=True)
MACHINE = Died("machine lost", machine=True)
GOOD = Ended(None)
NEVER = None


def task(name):
    path = Path(f"{name}.wav")
    return Task(Job(path, path.name, PurePath(), (Path(f"{name}/vocals.wav"),), Path(f"{name}/{name}.mss.json")), path)


class Scripted:
    """A site whose workers answer each task with the next entry of its script, and loading with the next of `loads`."""

    def __init__(self, scripts=None, *, loads=(), clock=None, seats=1):
        self.seats = seats
        self.scripts = {name: deque(answers) for name, answers in (scripts or {}).items()}
        self.loads = deque(loads)
        self.clock = clock
        self.news, self.living, self.started = deque(), set(), 0
        self.beside = []  # (name, how many others were at work)
        self.working = {}
        self.removed = []

    def start(self):
        self.started += 1
        self.living.add(self.started)
        seats = [(self.started, number) for number in range(self.seats)]
        news = self.loads.popleft() if self.loads else Loaded()
        if isinstance(news, Loaded):
            self.news.extend((seat, news) for seat in seats)
        elif news is not NEVER:
            self.news.append((seats[0], news))
        return seats

    def give(self, seat, task):
        assert seat[0] in self.living
        assert seat not in self.working
        name = task.path.stem
        self.beside.append((name, len(self.working)))
        self.working[seat] = name
        answers = self.scripts.get(name)
        answer = answers.popleft() if answers else GOOD
        if answer is not NEVER:
            self.news.append((seat, answer))

    def hear(self, seats, patience):
        if not self.news:
            assert patience is not None, "the crew waits forever"
            self.clock.now += patience
            return []
        seat, news = self.news.popleft()
        assert seat in seats
        if isinstance(news, Ended):
            del self.working[seat]
        return [(seat, news)]

    def remove(self, seats):
        for worker in {worker for worker, _ in seats}:
            assert sum(seat[0] == worker for seat in seats) == self.seats
            self.living.remove(worker)
        for seat, task in seats.items():
            self.working.pop(seat, None)
            self.news = deque(entry for entry in self.news if entry[0] != seat)
            self.removed.append(None if task is None else task.path.stem)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def run(site, names, *, jobs=2, **settings):
    """Run a crew; give exit codes by track and what was said."""
    said = []
    crew = Crew(site, jobs, map(task, names), said.append, **settings)
    codes = {}
    try:
        for outcome in crew.outcomes():
            name = outcome.task.path.stem
            assert name not in codes
            codes[name] = ExitCode.OK if outcome.error is None else outcome.error.code
    finally:
        crew.dismiss()
    assert not site.living
    return codes, [event.message for event in said if isinstance(event, Warned)]


def test_every_track_is_done_once_by_at_most_so_many_workers():
    site = Scripted()
    codes, said = run(site, "abcdefg", jobs=3)
    assert codes == dict.fromkeys("abcdefg", 0)
    assert (site.started, said) == (3, [])


def test_no_worker_is_started_for_no_track():
    site = Scripted()
    assert run(site, "") == ({}, [])
    assert site.started == 0


def test_tracks_are_taken_only_as_workers_come_for_them():
    taken = []
    tasks = (taken.append(name) or task(name) for name in "abcdef")
    crew = Crew(Scripted(), 2, tasks, lambda event: None)
    next(crew.outcomes())
    crew.dismiss()
    assert len(taken) <= 3


def test_a_track_whose_worker_died_is_tried_once_more_after_the_others_and_alone():
    site = Scripted({"a": [CRASH]})
    codes, said = run(site, "abcde", jobs=3)
    assert codes == dict.fromkeys("abcde", 0)
    assert site.beside[-1] == ("a", 0)
    assert said == ["its worker died (SIGSEGV): it is tried once more, alone"]


@pytest.mark.parametrize(("died", "code"), [(CRASH, ExitCode.INTERNAL), (OUT_OF_MEMORY, ExitCode.MEMORY)])
def test_a_track_that_costs_two_workers_has_failed(died, code):
    site = Scripted({"b": [died, died]})
    codes, _ = run(site, "abcd")
    assert codes == {"a": 0, "b": code, "c": 0, "d": 0}
    assert [name for name, _ in site.beside].count("b") == 2


def test_several_such_tracks_do_not_meet():
    site = Scripted({"a": [CRASH], "b": [CRASH, CRASH], "c": [CRASH]})
    codes, _ = run(site, "abcd", jobs=4)
    assert codes == {"a": 0, "b": 70, "c": 0, "d": 0}
    assert sorted(site.beside[-3:]) == [("a", 0), ("b", 0), ("c", 0)]


def test_a_lost_machine_is_no_fault_of_its_track():
    site = Scripted({"a": [MACHINE, MACHINE], "b": [MACHINE]})
    codes, said = run(site, "abc")
    assert codes == dict.fromkeys("abc", 0)
    assert said == ["its machine was lost: it is begun again"] * 3


def test_a_track_that_machine_after_machine_is_lost_with_fails_in_the_end():
    codes, _ = run(Scripted({"a": [MACHINE] * MOST_MACHINES}), "ab")
    assert codes == {"a": 70, "b": 0}


def test_a_machine_lost_while_it_loads_costs_no_worker():
    site = Scripted(loads=[MACHINE, MACHINE, MACHINE])
    codes, said = run(site, "abcd")
    assert (codes, said) == (dict.fromkeys("abcd", 0), [])


def test_when_machine_after_machine_is_lost_over_the_model_the_run_ends():
    with pytest.raises(MemoryExhausted):
        run(Scripted(loads=[MACHINE] * 20), "abcd")


def test_workers_that_never_come_keep_nobody_waiting():
    site = Scripted(loads=[Loaded(), NEVER])
    codes, _ = run(site, "abcd")
    assert codes == dict.fromkeys("abcd", 0)


def test_workers_that_die_over_the_model_become_fewer():
    site = Scripted(loads=[OUT_OF_MEMORY])
    codes, said = run(site, "abcd")
    assert codes == dict.fromkeys("abcd", 0)
    assert said == ["a worker died while it loaded the model (SIGKILL): going on with 1"]
    assert site.started == 2


def test_when_the_last_worker_dies_over_the_model_the_run_ends():
    with pytest.raises(MemoryExhausted):
        run(Scripted(loads=[OUT_OF_MEMORY] * 3), "abcd")


def test_a_suspect_whose_new_worker_dies_over_the_model_is_still_tried():
    site = Scripted({"a": [CRASH]}, loads=[Loaded(), CRASH])
    codes, _ = run(site, "a")
    assert codes == {"a": 0}


def test_a_model_that_is_refused_ends_the_run_with_the_reason():
    with pytest.raises(DeviceError):
        run(Scripted(loads=[Refused(DeviceError("no such device"))]), "ab")


def test_errors_of_tracks_are_passed_on():
    codes, _ = run(Scripted({"b": [Ended(InputError("broken"))]}), "abc")
    assert codes == {"a": 0, "b": 3, "c": 0}


def test_a_track_that_takes_too_long_costs_its_worker_and_is_not_tried_again():
    clock = Clock()
    site = Scripted({"b": [NEVER]}, clock=clock)
    codes, _ = run(site, "abc", timeout_seconds=60.0, clock=clock)
    assert codes == {"a": 0, "b": 75, "c": 0}
    assert clock.now == 60.0
    assert "b" in site.removed


def test_loading_is_not_on_the_account_of_a_track():
    clock = Clock()
    site = Scripted(clock=clock)
    load, site.news = site.start, deque()
    site.start = lambda: setattr(clock, "now", clock.now + 1000.0) or load()
    assert run(site, "abc", timeout_seconds=1.0, clock=clock)[0] == dict.fromkeys("abc", 0)


def test_what_every_worker_says_while_it_loads_is_said_once():
    class Chatty(Scripted):
        def start(self):
            seats = super().start()
            self.news.appendleft((seats[0], Warned("no GPU")))
            return seats

    assert run(Chatty(), "abcd", jobs=3)[1] == ["no GPU"]


def test_every_seat_of_a_worker_has_a_track():
    site = Scripted({name: [NEVER] for name in "abcdef"}, seats=3)
    crew = Crew(site, 2, map(task, "abcdefg"), lambda event: None)
    site.hear = lambda seats, patience: Scripted.hear(site, seats, patience) if site.news else pytest.fail("idle")
    with pytest.raises(pytest.fail.Exception):
        next(crew.outcomes())
    assert (site.started, sorted(site.working.values())) == (2, list("abcdef"))
    crew.dismiss()


def test_no_more_workers_are_started_than_have_a_track_for_a_seat():
    site = Scripted(seats=4)
    assert run(site, "abcd", jobs=3)[0] == dict.fromkeys("abcd", 0)
    assert site.started == 1


def test_all_tracks_of_a_worker_that_died_are_tried_once_more_each_alone():
    site = Scripted({"a": [NEVER], "b": [CRASH], "c": [NEVER]}, seats=3)
    codes, said = run(site, "abcde", jobs=1)
    assert codes == dict.fromkeys("abcde", 0)
    assert said == ["its worker died (SIGSEGV): it is tried once more, alone"] * 3
    assert sorted(site.beside[-3:]) == [("a", 0), ("b", 0), ("c", 0)]
    assert [name for name, _ in site.beside].count("d") == 1


def test_of_several_tracks_of_dying_workers_only_the_guilty_one_fails():
    codes, _ = run(Scripted({"a": [NEVER], "b": [CRASH, CRASH], "c": [NEVER]}, seats=3), "abcde", jobs=1)
    assert codes == {"a": 0, "b": 70, "c": 0, "d": 0, "e": 0}


def test_a_track_that_takes_too_long_fails_and_those_beside_it_are_begun_again_without_blame():
    clock = Clock()
    site = Scripted({"b": [NEVER], "c": [NEVER]}, clock=clock, seats=3)
    give = site.give

    def late(seat, given):
        give(seat, given)
        clock.now += 10.0 if given.path.stem == "b" else 0.0  # so that its time is over before that of `c`

    site.give = late
    codes, said = run(site, "abcd", jobs=1, timeout_seconds=60.0, clock=clock)
    assert codes == {"a": 0, "b": 75, "c": 0, "d": 0}
    assert said == ["its worker was ended for a track that took too long: it is begun again"]
    assert [name for name, _ in site.beside].count("c") == 2


def test_a_worker_of_several_seats_that_dies_over_the_model_is_one_worker_less():
    site = Scripted(loads=[OUT_OF_MEMORY], seats=2)
    codes, said = run(site, "abcdef", jobs=2)
    assert codes == dict.fromkeys("abcdef", 0)
    assert said == ["a worker died while it loaded the model (SIGKILL): going on with 1"]
    with pytest.raises(MemoryExhausted):
        run(Scripted(loads=[OUT_OF_MEMORY] * 3, seats=2), "abcdef")


@settings(deadline=None, max_examples=200)
@given(st.data(), st.integers(1, 5), st.integers(1, 4), st.integers(0, 12))
def test_whatever_dies_every_track_has_one_outcome(data, jobs, seats, count):
    names = [f"t{number}" for number in range(count)]
    answers = st.lists(st.sampled_from([GOOD, CRASH, OUT_OF_MEMORY, MACHINE, Ended(InputError("broken"))]), max_size=3)
    scripts = {name: data.draw(answers) for name in names}
    loads = data.draw(st.lists(st.sampled_from([Loaded(), MACHINE]), max_size=MOST_MACHINES - 1))
    codes, _ = run(Scripted(scripts, loads=loads, seats=seats), names, jobs=jobs)
    assert set(codes) == set(names)
    for name in names:
        deaths = [answer for answer in scripts[name] if answer in (CRASH, OUT_OF_MEMORY)]
        if seats > 1 and any(MACHINE in answers for answers in scripts.values()):
            continue  # that of another track counts as its own: five of them and it has failed
        if not deaths and not any(isinstance(answer, Ended) and answer.error for answer in scripts[name]):
            assert codes[name] == 0
