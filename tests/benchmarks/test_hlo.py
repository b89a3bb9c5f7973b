"""What is counted in a compiled program's text, against small programs counted by hand."""

# ruff: noqa: E501 (programs as compilers write them)

import pytest

from benchmarks.hlo import Program

GPU = """HloModule jit_step

%fused_lookup (param_0: u8[100,10], param_1: s32[4]) -> bf16[4,10] {
  %param_0 = u8[100,10]{1,0} parameter(0)
  %param_1 = s32[4]{0} parameter(1)
  %gather.1 = u8[4,10]{1,0} gather(%param_0, %param_1), offset_dims={1}
  ROOT %convert.1 = bf16[4,10]{1,0} convert(%gather.1)
}

%fused_add (param_0: bf16[4,10]) -> bf16[4,10] {
  %param_0 = bf16[4,10]{1,0} parameter(0)
  %slice.1 = bf16[4,5]{1,0} slice(%param_0), slice={[0:4], [0:5]}
  ROOT %add.1 = bf16[4,10]{1,0} add(%param_0, %param_0)
}

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %c = f32[] add(%a, %b)
}

ENTRY %main (images: u8[100,10], order: s32[4], kernel: bf16[10]) -> bf16[4,10] {
  %images = u8[100,10]{1,0} parameter(0)
  %order = s32[4]{0} parameter(1)
  %kernel = bf16[10]{0} parameter(2)
  %lookup = bf16[4,10]{1,0} fusion(%images, %order), kind=kLoop, calls=%fused_lookup
  %cudnn-conv.1 = (bf16[4,10]{1,0}, u8[0]{0}) custom-call(%lookup, %kernel), custom_call_target="__cudnn$convForward", metadata={op_name="jit(step)/stem_conv"}
  %gte = bf16[4,10]{1,0} get-tuple-element(%cudnn-conv.1), index=0
  %all-reduce-start.1 = f32[10]{0} all-reduce-start(%kernel), to_apply=%sum
  %all-reduce-done.1 = f32[10]{0} all-reduce-done(%all-reduce-start.1)
  %copy.1 = bf16[4,10]{0,1} copy(%gte)
  ROOT %result = bf16[4,10]{1,0} fusion(%copy.1), kind=kLoop, calls=%fused_add
}
"""

TPU = """HloModule jit_train, is_scheduled=true

%fused_conv (p0: bf16[8,8], p1: bf16[8,8]) -> bf16[8,8] {
  %p0 = bf16[8,8]{1,0:T(8,128)(2,1)} parameter(0)
  %p1 = bf16[8,8]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  ROOT %conv = bf16[8,8]{1,0:T(8,128)(2,1)} convolution(%p0, %p1), dim_labels=bf_io->bf
}

%body (carry: bf16[8,8]) -> bf16[8,8] {
  %carry = bf16[8,8]{1,0:T(8,128)(2,1)} parameter(0)
  %copy-start.1 = (bf16[8,8]{1,0:T(8,128)(2,1)S(1)}, bf16[8,8]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%carry)
  %copy-done.1 = bf16[8,8]{1,0:T(8,128)(2,1)S(1)} copy-done(%copy-start.1)
  %all-reduce.1 = bf16[8,8]{1,0:T(8,128)(2,1)S(1)} all-reduce(%copy-done.1), to_apply=%sum
  ROOT %fusion.1 = bf16[8,8]{1,0:T(8,128)(2,1)} fusion(%carry, %all-reduce.1), kind=kOutput, calls=%fused_conv
}

%condition (carry: bf16[8,8]) -> pred[] {
  %carry = bf16[8,8]{1,0} parameter(0)
  ROOT %true = pred[] constant(true)
}

ENTRY %main (x: bf16[8,8]) -> bf16[8,8] {
  %x = bf16[8,8]{1,0} parameter(0)
  ROOT %while.1 = bf16[8,8]{1,0} while(%x), condition=%condition, body=%body
}
"""


def test_operands_are_read_and_results_are_written():
    program = Program(GPU)
    sizes = {operation.name: operation.size for operation in program.operations}
    assert sizes == {
        "%lookup": 4 * 10 * 1 + 4 * 4 + 2 * 40,  # the rows that are looked up, not all images
        "%cudnn-conv.1": 2 * 40 + 2 * 40 + 2 * 10,
        "%all-reduce-start.1": 2 * (2 * 10),
        "%copy.1": 2 * 2 * 40,
        "%result": 2 * 2 * 40,  # read whole: the slice is not its only use
    }
    assert program.count_by_kind() == {
        "convolutions": 1,
        "elementwise": 2,
        "copies": 1,
        "collectives": 1,
    }
    assert program.bytes_summed() == 2 * 10
    assert program.bytes_by_kind()["elementwise"] == sizes["%lookup"] + sizes["%result"]
    assert [o.source for o in program.operations if o.kind == "convolutions"] == [
        "jit(step)/stem_conv"
    ]


def test_what_lies_in_on_chip_memory_does_not_count():
    program = Program(TPU, loop=True)
    assert {operation.name: operation.size for operation in program.operations} == {
        "%copy-start.1": 2 * 64,  # read from the main memory, written to the chip's
        "%all-reduce.1": 0,
        "%fusion.1": 2 * 64 + 2 * 64,
    }
    assert program.bytes_by_kind()["convolutions"] == 256
    assert program.bytes_summed() == 2 * 64, "it is sent from there"


def test_a_loop_must_be_there_to_be_counted():
    with pytest.raises(ValueError, match="0 loops in the program"):
        Program(GPU, loop=True)
