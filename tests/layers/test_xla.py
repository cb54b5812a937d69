"""A function is compiled by XLA, and not in a graph that is to run without it."""

import tensorflow as tf

from tfvoice.layers import xla


@xla.compiled
def doubled(values):
    return 2.0 * values


def asks_for_xla(function):
    library = function.get_concrete_function(tf.TensorSpec([3])).graph.as_graph_def().library
    return any(one.attr["_XlaMustCompile"].b for one in library.function)


def test_it_is_compiled_but_for_a_graph_that_is_to_be_plain():
    compiled = tf.function(lambda values: doubled(values))
    assert asks_for_xla(compiled)
    with xla.plain():
        plain = tf.function(lambda values: doubled(values))
        assert not asks_for_xla(plain)
    assert asks_for_xla(tf.function(lambda values: doubled(values)))
    for function in (doubled, compiled, plain):
        assert function(tf.constant([1.0, 2.0, 3.0])).numpy().tolist() == [2, 4, 6]


def test_what_is_compiled_as_a_whole_knows_it_while_it_is_traced():
    assert not xla.is_whole()
    seen = tf.function(xla.whole(lambda values: values if xla.is_whole() else None), jit_compile=True)
    assert seen(tf.constant([1.0])).numpy().tolist() == [1]
    assert not xla.is_whole()
