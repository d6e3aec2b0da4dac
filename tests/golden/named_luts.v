// named_luts.v
module named_luts (
  input  wire        [5:0] x,
  output wire signed [3:0] y,
  output wire              p
);

  wire              t1;
  wire              t2;
  wire              t3;
  wire              t4;
  wire              t5;
  wire              t6;
  wire signed [3:0] y_2 = {t6, t5, t4, t3};
  wire              p_2;
  LUT4 #(.INIT(16'hbe1c)) lut_t1 (.O(t1), .I0(x[2]), .I1(x[3]), .I2(x[4]), .I3(x[5]));
  LUT4 #(.INIT(16'h3fe0)) lut_t2 (.O(t2), .I0(x[2]), .I1(x[3]), .I2(x[4]), .I3(x[5]));
  LUT4 #(.INIT(16'h254f)) lut_t3 (.O(t3), .I0(x[0]), .I1(x[1]), .I2(t1), .I3(t2));
  LUT4 #(.INIT(16'h4379)) lut_t4 (.O(t4), .I0(x[0]), .I1(x[1]), .I2(t1), .I3(t2));
  LUT4 #(.INIT(16'hf06c)) lut_t5 (.O(t5), .I0(x[0]), .I1(x[1]), .I2(t1), .I3(t2));
  LUT4 #(.INIT(16'he38a)) lut_t6 (.O(t6), .I0(x[0]), .I1(x[1]), .I2(t1), .I3(t2));
  LUT6 #(.INIT(64'h6996966996696996)) lut_p_2 (.O(p_2), .I0(x[0]), .I1(x[1]), .I2(x[2]), .I3(x[3]), .I4(x[4]),
      .I5(x[5]));

  assign y = y_2;
  assign p = p_2;
endmodule

// LUT4.v
`ifndef SYNTHESIS
module LUT4 #(parameter [15:0] INIT = 0) (
  output wire O,
  input  wire I0, I1, I2, I3
);
  wire [3:0] key = {I3, I2, I1, I0};
  assign O = INIT[key];
endmodule
`endif

// LUT6.v
`ifndef SYNTHESIS
module LUT6 #(parameter [63:0] INIT = 0) (
  output wire O,
  input  wire I0, I1, I2, I3, I4, I5
);
  wire [5:0] key = {I5, I4, I3, I2, I1, I0};
  assign O = INIT[key];
endmodule
`endif
