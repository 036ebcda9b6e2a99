"""What an adapter and its training may be: PEFT's names, its file, and what is refused by name."""

import json

import pytest

from edgenet.errors import InvalidOption, InvalidRank, UnknownTargetModule
from edgenet.lora import PRESETS, LoraConfig, TrainingConfig
from edgenet.lora.config import MODULES, MOST_RANK_IN_TAB

# What `peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], task_type="CAUSAL_LM").save_pretrained` of PEFT 0.17 writes.
PEFT_FILE = {
    "alpha_pattern": {}, "auto_mapping": None, "base_model_name_or_path": "base", "bias": "none", "corda_config": None,
    "eva_config": None, "exclude_modules": None, "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True,
    "layer_replication": None, "layers_pattern": None, "layers_to_transform": None, "loftq_config": {}, "lora_alpha": 8,
    "lora_bias": False, "lora_dropout": 0.0, "megatron_config": None, "megatron_core": "megatron.core", "modules_to_save": None,
    "peft_type": "LORA", "qalora_group_size": 16, "r": 4, "rank_pattern": {}, "revision": None, "target_modules": ["q_proj"],
    "target_parameters": None, "task_type": "CAUSAL_LM", "trainable_token_indices": None, "use_dora": False,
    "use_qalora": False, "use_rslora": False,
}  # fmt: skip


@pytest.mark.parametrize(
    "rslora, scale", [(False, 4.0), (True, 8.0)], ids=["alpha over r", "rsLoRA: alpha over the root of r"]
)
def test_the_scale(rslora, scale):
    assert LoraConfig(r=4, lora_alpha=16, use_rslora=rslora).scale == scale


def test_a_file_of_peft_is_read_without_a_warning():
    config = LoraConfig.from_json(json.dumps(PEFT_FILE), warn=pytest.fail)
    assert config == LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=("q_proj",))


def test_a_config_comes_back_from_its_file_which_is_sorted():
    config = LoraConfig(
        3, 7.5, 0.1, ("v", "q"), True, rank_pattern={"0.self_attn.q_proj": 9}, alpha_pattern={"v_proj": 1}
    )
    text = config.to_json("some/base")
    again = LoraConfig.from_json(text, warn=pytest.fail)
    assert (
        list(json.loads(text)) == sorted(json.loads(text))
        and json.loads(text)["base_model_name_or_path"] == "some/base"
    )
    assert (again.scale, set(again.target_modules)) == (config.scale, set(config.target_modules))
    assert (again.rank_pattern, again.alpha_pattern) == (config.rank_pattern, config.alpha_pattern)


def test_unknown_keys_are_dropped_and_named():
    said = []
    assert LoraConfig.from_json(json.dumps(PEFT_FILE | {"zebra": 1, "apple": 2}), warn=said.append).r == 4
    assert len(said) == 1 and "apple, zebra" in said[0]


@pytest.mark.parametrize("key, value", [("use_dora", True), ("fan_in_fan_out", True), ("modules_to_save", ["lm_head"]),
                                        ("peft_type", "IA3"), ("bias", "all"), ("lora_bias", True)])  # fmt: skip
def test_what_would_change_the_mathematics_is_refused(key, value):
    with pytest.raises(InvalidOption, match=key):
        LoraConfig.from_json(json.dumps(PEFT_FILE | {key: value}), warn=pytest.fail)


@pytest.mark.parametrize(
    "module, rank, scale",
    [
        ("model.layers.0.self_attn.q_proj", 4, 2.0),
        ("model.layers.1.self_attn.q_proj", 16, 0.5),  # the end of the path
        ("model.layers.11.self_attn.q_proj", 4, 2.0),  # ends alike, but is another name
        ("model.layers.3.self_attn.v_proj", 4, 8.0),  # another alpha
        ("model.layers.4.mlp.up_proj", 2, 4.0),  # the whole path
    ],
)
def test_patterns_give_single_modules_another_rank_or_alpha(module, rank, scale):
    config = LoraConfig(
        4, 8, target_modules=MODULES,
        rank_pattern={"1.self_attn.q_proj": 16, "^model.layers.4.mlp.up_proj": 2}, alpha_pattern={"v_proj": 32},
    )  # fmt: skip
    assert (config.rank_of(module), config.scale_of(module)) == (rank, scale)


@pytest.mark.parametrize(
    "error, wrong",
    [
        (InvalidRank, {"r": 0}),
        (InvalidRank, {"r": -1}),
        (InvalidRank, {"r": 257}),
        (InvalidRank, {"r": 2.0}),
        (InvalidRank, {"r": True}),
        (InvalidRank, {"rank_pattern": {"q_proj": 0}}),
        (UnknownTargetModule, {"target_modules": ("z_proj",)}),
        (UnknownTargetModule, {"target_modules": ()}),
        (UnknownTargetModule, {"target_modules": ".*q_proj"}),  # PEFT's expressions are not run
        (InvalidOption, {"lora_dropout": 1.0}),
        (InvalidOption, {"lora_dropout": -0.1}),
        (InvalidOption, {"lora_alpha": 0}),
        (InvalidOption, {"lora_alpha": float("nan")}),
        (InvalidOption, {"alpha_pattern": {"(a+)+$": 1}}),
        (InvalidOption, {"alpha_pattern": {"q_proj": "x"}}),
    ],
)
def test_what_cannot_be_is_refused_by_name(error, wrong):
    with pytest.raises(error):
        LoraConfig(**wrong)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"r": "4"}', '{"rank_pattern": [1]}'])
def test_a_broken_file_is_a_named_error(text):
    with pytest.raises(InvalidOption):
        LoraConfig.from_json(text)


def test_a_tab_trains_small_ranks():
    assert LoraConfig(r=16).check_rank(MOST_RANK_IN_TAB).r == 16
    with pytest.raises(InvalidRank, match="CLI"):
        LoraConfig(r=17).check_rank(MOST_RANK_IN_TAB)


def test_short_names_and_all_linear():
    assert LoraConfig(target_modules=["q", "down"]).target_modules == ("q_proj", "down_proj")
    assert LoraConfig(target_modules="all-linear").target_modules == MODULES


def test_presets_are_kinds_of_work():
    coder, security = PRESETS["coder"].lora, PRESETS["security"].lora
    assert (coder.r, coder.scale, coder.lora_dropout, len(security.target_modules)) == (16, 2.0, 0.05, 7)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": 9}, {"learning_rate": 0}, {"optimizer": "adam"},
                                   {"validation": 1.0}, {"max_steps": 0}, {"dots": "f16"}, {"clip": -1}])  # fmt: skip
def test_training_options_out_of_range(wrong):
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        TrainingConfig(**wrong)


def test_training_options_come_in_either_style():
    assert TrainingConfig.from_data({"batchSize": 2, "max_steps": 7}) == TrainingConfig(batch_size=2, max_steps=7)
    with pytest.raises(InvalidOption, match="zebra"):
        TrainingConfig.from_data({"zebra": 1})


@pytest.mark.parametrize(
    ("rows", "shape", "reason"),
    [
        (1000, (300, 10, 50, 2), "as the steps say"),
        (50, (150, 5, 25, 2), "six times through 50 rows, two at once: half of it"),
        (6, (18, 1, 3, 2), "warm after one step, looked at six times as ever"),
        (1, (6, 1, 1, 1), "a single row, which is not read twice in one step"),
    ],
)
def test_little_data_is_gone_through_only_so_often_and_the_course_is_the_same_in_small(rows, shape, reason):
    def found(config):
        return config.max_steps, config.warmup_steps, config.evaluate_every, config.batch_size

    config = TrainingConfig(batch_size=2, max_steps=300, max_epochs=6)
    assert found(config.course(rows)) == shape == found(config.course(rows).course(rows))
    assert config.course(rows).checkpoint_every == config.checkpoint_every
    assert TrainingConfig(max_steps=300).course(rows) == TrainingConfig(max_steps=300)


def test_a_shorter_course_has_no_warm_up_and_no_looks_where_none_were_asked_for():
    course = TrainingConfig(max_steps=300, max_epochs=6, warmup_steps=0, evaluate_every=0).course(3)
    assert (course.max_steps, course.warmup_steps, course.evaluate_every) == (18, 0, 0)
