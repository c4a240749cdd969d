"""From what stands in a configuration to a flag's value and variant."""

import pytest

from agent_servicing.core.config.flags import UnusableFlag, evaluated


@pytest.mark.parametrize("value", [True, False, 0, 0.5, "blue", "", None, [1], {}, {"limit": 3}, {"value": 1, "limit": 3}])
def test_what_is_no_definition_is_the_value_itself(value: object) -> None:
    assert (evaluated(value).value, evaluated(value).variant) == (value, "default")


def test_a_definition_holds_a_value_or_names_one_of_its_variants() -> None:
    wrapped = evaluated({"value": {"value": 1}})
    assert (wrapped.value, wrapped.variant) == ({"value": 1}, "default")
    chosen = evaluated({"value": "blue", "variants": {"blue": "#00f", "green": "#0f0"}})
    assert (chosen.value, chosen.variant) == ("#00f", "blue")


@pytest.mark.parametrize("definition", [{"value": "red", "variants": {"blue": 1}}, {"value": True, "variants": {"blue": 1}}])
def test_a_value_that_is_no_variant_is_an_error_that_names_them(definition: object) -> None:
    with pytest.raises(UnusableFlag, match="must name one of its variants: blue"):
        evaluated(definition)


@pytest.mark.parametrize("variants", [{}, [], None, "blue"])
def test_without_usable_variants_none_can_be_named(variants: object) -> None:
    with pytest.raises(UnusableFlag, match="variants: none"):
        evaluated({"value": "blue", "variants": variants})
