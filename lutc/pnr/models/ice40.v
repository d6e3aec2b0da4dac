// What the cells of a routed iCE40 netlist do, as the family's data sheets and the "Lattice iCE Technology Library" have
// it, for two-state simulation.

module ICESTORM_LC(input I0, I1, I2, I3, CIN, CLK, CEN, SR, output LO, O, COUT);
  parameter [15:0] LUT_INIT = 0;
  parameter [0:0] NEG_CLK = 0;
  parameter [0:0] CARRY_ENABLE = 0;
  parameter [0:0] DFF_ENABLE = 0;
  parameter [0:0] SET_NORESET = 0;
  parameter [0:0] ASYNC_SR = 0;
  parameter [0:0] CIN_CONST = 0;
  parameter [0:0] CIN_SET = 0;
  wire carry = CIN_CONST ? CIN_SET : CIN;
  // Step by step, so that an input without a value does no harm where the function does not ask for it.
  wire [7:0] by_i3 = I3 ? LUT_INIT[15:8] : LUT_INIT[7:0];
  wire [3:0] by_i2 = I2 ? by_i3[7:4] : by_i3[3:0];
  wire [1:0] by_i1 = I1 ? by_i2[3:2] : by_i2[1:0];
  wire lut = I0 ? by_i1[1] : by_i1[0];
  reg held = 0;
  always @(posedge CLK) if (CEN) held <= SR ? SET_NORESET : lut;
  assign O = DFF_ENABLE ? held : lut;
  assign LO = lut;
  assign COUT = CARRY_ENABLE & ((I1 & I2) | ((I1 | I2) & carry));
endmodule

// A pad, with a pin for each of its directions.
module SB_IO(
  input INTO, D_OUT_0, D_OUT_1, OUTPUT_ENABLE, OUTPUT_CLK, INPUT_CLK, CLOCK_ENABLE, LATCH_INPUT_VALUE,
  output D_IN_0, D_IN_1, OUT_OF
);
  parameter IO_STANDARD = "SB_LVCMOS";
  parameter [5:0] PIN_TYPE = 0;
  parameter [0:0] NEG_TRIGGER = 0;
  parameter [0:0] PULLUP = 0;
  assign OUT_OF = D_OUT_0;
  assign D_IN_0 = INTO;
endmodule

module SB_GB(input USER_SIGNAL_TO_GLOBAL_BUFFER, output GLOBAL_BUFFER_OUTPUT);
  assign GLOBAL_BUFFER_OUTPUT = USER_SIGNAL_TO_GLOBAL_BUFFER;
endmodule
