"""Functions that XLA compiles, except in graphs that must run without it."""

import tensorflow as tf

from tfvoice.layers import xla


@xla.jit_compiled
def doubled(values):
    return 2.0 * values


def requires_xla(function):
    library = function.get_concrete_function(tf.TensorSpec([3])).graph.as_graph_def().library
    return any(definition.attr["_XlaMustCompile"].b for definition in library.function)


def test_xla_compiles_a_function_unless_it_is_disabled():
    compiled = tf.function(lambda values: doubled(values))
    assert requires_xla(compiled)
    with xla.disabled():
        plain = tf.function(lambda values: doubled(values))
        assert not requires_xla(plain)
    assert requires_xla(tf.function(lambda values: doubled(values)))
    for function in (doubled, compiled, plain):
        assert function(tf.constant([1.0, 2.0, 3.0])).numpy().tolist() == [2, 4, 6]


def test_a_jit_scope_is_visible_while_it_is_traced():
    assert not xla.in_jit_scope()
    scoped = tf.function(xla.jit_scope(lambda values: values if xla.in_jit_scope() else None), jit_compile=True)
    assert scoped(tf.constant([1.0])).numpy().tolist() == [1]
    assert not xla.in_jit_scope()
