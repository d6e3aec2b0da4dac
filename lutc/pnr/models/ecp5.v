// What the cells of a routed ECP5 netlist do, as the family's data sheet (Lattice FPGA-DS-02012) has it, for two-state
// simulation: a slice's LUT4 with its half of a carry pair and its wide multiplexer, and a register.

module TRELLIS_COMB(
  input A, B, C, D, M, FCI, F1, FXA, FXB, DI0, DI1, WD, WAD0, WAD1, WAD2, WAD3, WRE, WCK,
  output F, FCO, OFX
);
  parameter MODE = "LOGIC";
  parameter [15:0] INITVAL = 0;
  parameter CCU2_INJECT1 = "NO";
  parameter WREMUX = "WRE";
  parameter SIX = 0; // the multiplexer of two LUT5, not of two LUT4
  // Step by step, so that an input without a value does no harm where the function does not ask for it.
  wire [7:0] by_d = D ? INITVAL[15:8] : INITVAL[7:0];
  wire [3:0] by_c = C ? by_d[7:4] : by_d[3:0];
  wire [1:0] by_b = B ? by_c[3:2] : by_c[1:0];
  wire lut = A ? by_b[1] : by_b[0];
  wire generates = CCU2_INJECT1 == "YES" ? 1'b0 : INITVAL[{2'b00, B, A}];
  assign F = MODE == "CCU2" ? lut ^ (CCU2_INJECT1 == "YES" ? 1'b0 : FCI) : lut;
  assign FCO = lut ? FCI : generates;
  assign OFX = SIX ? (M ? FXB : FXA) : (M ? F1 : F);
endmodule

module TRELLIS_FF(input CLK, LSR, CE, DI, M, output reg Q);
  parameter GSR = "ENABLED";
  parameter CEMUX = "1";
  parameter CLKMUX = "CLK";
  parameter LSRMUX = "LSR";
  parameter SRMODE = "LSR_OVER_CE";
  parameter REGSET = "RESET";
  parameter SD = "0"; // whether the data come from beside, or from the pin M
  wire enable = CEMUX == "1" ? 1'b1 : CEMUX == "0" ? 1'b0 : CEMUX == "INV" ? ~CE : CE;
  wire set = LSRMUX == "INV" ? ~LSR : LSR;
  wire data = SD == "1" ? DI : M;
  initial Q = REGSET == "SET";
  always @(posedge CLK)
    if (set && (enable || SRMODE == "LSR_OVER_CE")) Q <= REGSET == "SET";
    else if (enable) Q <= data;
endmodule

// A pad, with a pin for each of its directions.
module TRELLIS_IO(input INTO, I, T, IOLDO, IOLTO, output O, OUT_OF);
  parameter DIR = "INPUT";
  parameter DATAMUX_ODDR = "PADDO";
  parameter DATAMUX_MDDR = "PADDO";
  assign OUT_OF = I;
  assign O = INTO;
endmodule

module DCCA(input CLKI, CE, output CLKO);
  assign CLKO = CLKI;
endmodule
